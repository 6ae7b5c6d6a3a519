"""Facts in, decision and reason out: no clock, no network, no change to the world."""
