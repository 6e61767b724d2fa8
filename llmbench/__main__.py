"""`python -m llmbench`: the command line."""

from __future__ import annotations

from llmbench.cli.main import entry

if __name__ == "__main__":
    entry()
