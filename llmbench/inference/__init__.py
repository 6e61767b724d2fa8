"""Scoring and generation with models over tokens."""
