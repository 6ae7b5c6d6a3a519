"""What the world says: empty in this version, so that its place is kept."""
