"""Links to files that a terminal can open."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

# set by terminals that draw a link (OSC 8) as one, and show nothing odd
SIGNS = ("WT_SESSION", "KITTY_WINDOW_ID", "DOMTERM", "KONSOLE_VERSION", "WEZTERM_PANE")
PROGRAMS = ("iTerm.app", "WezTerm", "vscode", "ghostty", "Hyper", "rio", "zed")
TERMS = ("xterm-kitty", "alacritty", "foot", "xterm-ghostty", "contour")
VTE = 5000  # VTE_VERSION of 0.50, the first without a flaw that ended the terminal


def draws_links(is_terminal: bool, settings: Mapping[str, str] | None = None) -> bool:
    """Return whether the terminal is known to draw links.

    Args:
        is_terminal: Whether the output goes to one.
        settings: The environment; that of this process by default. FORCE_HYPERLINK=1 or 0 decides
            for itself.
    """
    settings = os.environ if settings is None else settings
    if forced := settings.get("FORCE_HYPERLINK", ""):
        return forced != "0"
    if not is_terminal or settings.get("TERM", "") in ("", "dumb", "linux"):
        return False
    version = settings.get("VTE_VERSION", "")
    return (
        any(settings.get(name) for name in SIGNS)
        or settings.get("TERM_PROGRAM", "") in PROGRAMS
        or settings.get("TERM", "").partition("-direct")[0] in TERMS
        or (version.isdigit() and int(version) >= VTE)
    )


def link_file(path: Path, is_link: bool) -> str:
    """Return the file:// address of a file, which is also what a link of it shows: a terminal that
    draws none may still recognise the address.
    """
    address = re.sub(r"[\x00-\x20\x7f]", "", path.resolve().as_uri())
    return f"\x1b]8;;{address}\x1b\\{address}\x1b]8;;\x1b\\" if is_link else address
