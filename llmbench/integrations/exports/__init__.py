"""Exports of a run to the formats and programs in which people keep results: a file a target."""
