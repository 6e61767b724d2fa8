"""Text on either side of a model's forward passes; needs no torch."""
