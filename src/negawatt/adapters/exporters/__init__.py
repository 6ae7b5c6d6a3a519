"""Monitoring systems that windows are exported to: one a file."""
