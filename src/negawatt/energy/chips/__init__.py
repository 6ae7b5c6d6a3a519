"""Accelerators that could be built: what they would cost in joules, silicon and time."""
