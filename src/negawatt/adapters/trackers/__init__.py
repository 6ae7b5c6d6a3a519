"""Experiment trackers, training callbacks and notebooks: one library a file."""
