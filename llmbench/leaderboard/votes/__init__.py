"""What people said, on a board."""
