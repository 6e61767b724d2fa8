"""One board from many runs."""
