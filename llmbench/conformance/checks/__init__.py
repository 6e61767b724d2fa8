"""The checks themselves, a file for each kind of lie."""
