"""Checkpoints as the code of courses writes them, one file a course."""
