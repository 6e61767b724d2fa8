"""What a score of answers says beside its value."""
