"""Processes with one measurement each: turns of speed, peaks of the machine, one batch."""
