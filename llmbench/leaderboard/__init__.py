"""Boards, from records alone; no torch."""
