"""Speed, memory and the largest batch."""
