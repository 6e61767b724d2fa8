"""Bits per byte while a model is trained: a plain loop, transformers' Trainer, Lightning."""
