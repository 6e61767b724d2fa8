"""A page in headless Chromium, driven over DevTools' pipe: no driver, no port, no network."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

CHROMIUM = next(
    (
        found
        for name in ("chromium", "chromium-browser", "google-chrome")
        if (found := shutil.which(name))
    ),
    None,
)
FLAGS = (
    *(
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
    ),
    *(
        "--disable-component-update",
        "--disable-sync",
        "--disable-extensions",
        "--disable-dev-shm-usage",
        "--remote-debugging-pipe",
    ),
)


class Page:
    """An open page. `complaints`: errors of scripts, of the console and of the page's own policy;
    `requests`: addresses that it asked for.
    """

    def __init__(self, read: int, write: int):
        self._read, self._write, self._rest, self._number, self._session = read, write, b"", 0, ""
        self.complaints: list[str] = []
        self.requests: list[str] = []

    def open(self, file: Path) -> None:
        target = self.ask("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.ask("Target.attachToTarget", targetId=target, flatten=True)[
            "sessionId"
        ]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.ask(f"{domain}.enable")
        self.ask("Page.navigate", url=file.as_uri())
        while self._message().get("method") != "Page.loadEventFired":
            pass

    def ask(self, method: str, **parameters: Any) -> dict[str, Any]:
        """One command, and its result."""
        self._number += 1
        asked = {
            "id": self._number,
            "method": method,
            "params": parameters,
            **({"sessionId": self._session} if self._session else {}),
        }
        os.write(self._write, json.dumps(asked).encode() + b"\0")
        while (said := self._message()).get("id") != self._number:
            pass
        assert "error" not in said, said["error"]
        return said["result"]

    def value(self, expression: str) -> Any:
        """What a JavaScript expression is in the page."""
        said = self.ask("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in said, said["exceptionDetails"]
        return said["result"].get("value")

    def _message(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            more = os.read(self._read, 1 << 20)
            assert more, "the browser has gone"
            self._rest += more
        raw, _, self._rest = self._rest.partition(b"\0")
        said = json.loads(raw)
        self._note(said.get("method"), said.get("params", {}))
        return dict(said)

    def _note(self, method: str | None, details: dict[str, Any]) -> None:
        spoken = method == "Runtime.consoleAPICalled" and details["type"] in ("error", "warning")
        if spoken or method in ("Runtime.exceptionThrown", "Log.entryAdded"):
            self.complaints.append(json.dumps(details))
        elif method == "Network.requestWillBeSent":
            self.requests.append(details["request"]["url"])


@contextmanager
def opened(file: Path, profile: Path) -> Iterator[Page]:
    """The page at `file`, in a browser with a fresh profile."""
    to_browser, from_browser = os.pipe(), os.pipe()
    ends = [
        fcntl.fcntl(end, fcntl.F_DUPFD, 10) for end in (to_browser[0], from_browser[1])
    ]  # out of the way of 3 and 4

    def put_in_place() -> None:
        os.dup2(ends[0], 3)  # where a browser with a pipe listens
        os.dup2(ends[1], 4)  # and speaks

    command = [str(CHROMIUM), *FLAGS, f"--user-data-dir={profile}"]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "start_new_session": True}
    child = subprocess.Popen(command, pass_fds=(3, 4), preexec_fn=put_in_place, **quiet)
    for end in ends:
        os.close(end)
    os.close(to_browser[0])
    os.close(from_browser[1])
    try:
        page = Page(from_browser[0], to_browser[1])
        page.open(file)
        yield page
    finally:
        with suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()
        os.close(from_browser[0])
        os.close(to_browser[1])
