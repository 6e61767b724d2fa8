"""Workers without the seconds of their imports: one process imports, and forks them."""
