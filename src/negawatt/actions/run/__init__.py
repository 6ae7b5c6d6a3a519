"""`negawatt run` and `negawatt queue`: work that waits for clean hours and keeps its deadline."""
