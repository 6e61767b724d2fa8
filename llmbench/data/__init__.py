"""Texts: built in, from files, from the Hub, generated."""
