"""Checkpoints of transformers, by kind."""
