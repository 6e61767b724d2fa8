"""Metrics: rules that give a number with a unit and a direction, from statistics of items."""
