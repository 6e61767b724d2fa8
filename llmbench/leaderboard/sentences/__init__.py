"""What a board says in sentences: who is best, what is significant, missing or unusual."""
