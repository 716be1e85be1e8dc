"""What comes out of a scatter."""
