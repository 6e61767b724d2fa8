"""Models that were made from other models of the same run: which, and what that changed."""
