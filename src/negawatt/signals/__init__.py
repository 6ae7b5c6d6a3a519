"""What the world says: signals of the grid by the hour, what is kept of them, what is foreseen."""
