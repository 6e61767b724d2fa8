"""Blind votes of people on what models wrote: the page, the file and the ranking."""
