"""What a board shows of loads on servers."""
