"""How far forward passes are, since scoring gives its ledgers only at its end."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

Share = Callable[[float], None]  # told the share done, in [0, 1]

_watcher: ContextVar[Share | None] = ContextVar("watcher", default=None)


class Passes:
    """Counts the ids of passes that are done, of `total`; may be told from several threads."""

    def __init__(self, total: int):
        self.total, self.done = max(1, total), 0
        self._told, self._lock = _watcher.get(), threading.Lock()

    def advance(self, ids: int) -> None:
        """Note that so many ids more were read."""
        if self._told is not None:
            with self._lock:
                self.done += ids
                self._told(min(1.0, self.done / self.total))


@contextmanager
def watch_passes(told: Share) -> Iterator[None]:
    """While this lasts, `told` is called after each batch of passes of this thread."""
    token = _watcher.set(told)
    try:
        yield
    finally:
        _watcher.reset(token)
