"""Times for readers: local, with their zone. Records hold ISO 8601 in UTC."""

from __future__ import annotations

from datetime import datetime


def format_time(iso: str) -> str:
    """Return an ISO 8601 time as local time with its zone, as in "2026-01-02 03:14 UTC".

    A text that is no such time, or has no zone, is returned as it is.
    """
    try:
        found = datetime.fromisoformat(iso)
        return iso if found.tzinfo is None else f"{found.astimezone():%Y-%m-%d %H:%M %Z}"
    except (ValueError, OverflowError):
        return iso
