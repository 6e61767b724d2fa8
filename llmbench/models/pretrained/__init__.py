"""Checkpoints of transformers: find, load, take apart."""
