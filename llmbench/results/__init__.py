"""What a run leaves: the record, its cells and samples, and comparisons of them."""
