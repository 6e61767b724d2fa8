"""What a load on a server is, and what came of it."""
