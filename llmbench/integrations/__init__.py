"""Bridges to other projects, each behind its extra."""
