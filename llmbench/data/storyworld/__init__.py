"""Stories whose exact bits are known."""
