"""The only code that changes the world: long jobs, step by step, resumable."""
