"""A model that judges the answers of a run."""
