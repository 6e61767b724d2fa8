"""What tests share: toy models, checkpoints made small, runs written by hand."""
