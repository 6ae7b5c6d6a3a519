"""One method of compression, alone, over a whole model."""
