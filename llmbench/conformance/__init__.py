"""Does an adapter tell the truth? The checks, and certificates."""
