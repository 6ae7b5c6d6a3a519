"""The main job: a language model leaves smaller, measured and explained."""
