"""The machine: what it is, what it holds, what it can do at most."""
