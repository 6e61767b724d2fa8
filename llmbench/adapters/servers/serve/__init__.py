"""Starts the server of a card, and ends it whatever happens."""
