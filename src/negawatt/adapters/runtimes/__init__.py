"""Inference engines, one a file, behind `negawatt.core.protocols.Runtime`."""
