"""Shards: runs of a task's items that are computed, and kept, each by itself."""
