"""Learning: what a changed model can be taught again, under a budget of time or energy."""
