"""Providers of grid signals; each module is one, found through `negawatt.grids`."""
