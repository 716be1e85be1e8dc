"""What travels with a scatter, and what it is where it arrives."""
