"""Plans: hours in each place, then the place."""
