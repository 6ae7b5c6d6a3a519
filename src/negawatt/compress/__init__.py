"""Fewer joules per token: quantisers, the energy-gradient search, and exporters."""
