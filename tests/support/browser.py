"""A page in headless Chromium, driven over DevTools' pipe: no driver, no port, no network."""

from __future__ import annotations

import base64
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
        self._visits, self._loaded, self._tab = 0, set[str](), ""
        self.complaints: list[str] = []
        self.requests: list[str] = []

    def open(self, file: Path | str, fragment: str = "", **view: Any) -> None:
        """Open a file, or an address. `fragment`: of a file's address, with #. `view`: see
        `set_view`.
        """
        self.switch(**view)
        if isinstance(file, Path):
            self.load(file, fragment)
        else:
            self.visit(file)

    def load(self, file: Path, fragment: str = "") -> None:
        """Load a file anew, and wait until it is there and drawn."""
        self._visits += 1  # with the same address but for its fragment, nothing would be loaded
        self.visit(f"{file.as_uri()}?{self._visits}{fragment}")

    def visit(self, address: str) -> None:
        """Go to an address, and wait until it is there and drawn."""
        self.complaints.clear()
        self.requests.clear()
        visit = self.ask("Page.navigate", url=address)["loaderId"]
        while visit not in self._loaded:
            self._message()

    def reload(self) -> None:
        """Load the page again, and wait until it is there."""
        self._loaded.clear()
        self.ask("Page.reload")
        while not self._loaded:
            self._message()

    def go_back(self) -> None:
        """Go back to the page before, as by the button, and wait until it is there."""
        history = self.ask("Page.getNavigationHistory")
        before = history["entries"][history["currentIndex"] - 1]
        self._loaded.clear()
        self.ask("Page.navigateToHistoryEntry", entryId=before["id"])
        while not self._loaded:
            self._message()

    def switch(self, target: str = "", **view: Any) -> str:
        """Go to a tab that was left, or to a new empty one; return which tab was left."""
        left, self._tab, session = self._tab, target, self._session
        self._session = ""
        if not target:
            self._tab = self.ask("Target.createTarget", url="about:blank")["targetId"]
        attached = self.ask("Target.attachToTarget", targetId=self._tab, flatten=True)
        self._session = attached["sessionId"]
        assert self._session != session
        self._begin(**view)
        return left

    def _begin(self, **view: Any) -> None:
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.ask(f"{domain}.enable")
        self.ask("Page.setLifecycleEventsEnabled", enabled=True)
        self.ask("Page.bringToFront")  # a tab behind another one is not drawn
        self.set_view(**view)

    def set_view(
        self,
        width: int = 1280,
        height: int = 900,
        *,
        dark: bool = False,
        printed: bool = False,
        script: bool = True,
        touch: bool = False,
    ) -> None:
        """Set the window's size in pixels, its colours and medium, and whether it runs scripts."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": touch}
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.ask("Emulation.setDeviceMetricsOverride", **size)
        self.ask("Emulation.setEmulatedMedia", media="print" if printed else "", features=[scheme])
        self.ask("Emulation.setScriptExecutionDisabled", value=not script)
        self.ask("Emulation.setTouchEmulationEnabled", enabled=touch)

    def picture(self, whole: bool = False) -> bytes:
        """The window as PNG, or the whole page."""
        found = self.ask("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        return base64.b64decode(found["data"])

    def paper(self) -> bytes:
        """The page as PDF, in the size that it asks for."""
        found = self.ask("Page.printToPDF", preferCSSPageSize=True, printBackground=True)
        return base64.b64decode(found["data"])

    def press(self, key: str, code: int, text: str = "") -> None:
        """Press a key and let it go."""
        for kind in ("keyDown", "keyUp"):
            self.ask(
                "Input.dispatchKeyEvent",
                type=kind,
                key=key,
                code=key,
                windowsVirtualKeyCode=code,
                text=text if kind == "keyDown" else "",
            )

    def tap(self, selector: str) -> None:
        """Touch the middle of the first element that fits."""
        box = self.value(
            f"(e => {{ e.scrollIntoView({{ block: 'center' }}); const b ="
            " e.getBoundingClientRect(); return { x: b.x + b.width / 2, y: b.y + b.height / 2 };"
            f" }})(document.querySelector({json.dumps(selector)}))"
        )
        self.ask("Input.dispatchTouchEvent", type="touchStart", touchPoints=[box])
        self.ask("Input.dispatchTouchEvent", type="touchEnd", touchPoints=[])

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
        said = self.ask(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in said, said["exceptionDetails"]
        return said["result"].get("value")

    def wait_for(self, expression: str) -> None:
        """Draw the page again and again until an expression is true; AssertionError if it is not
        after 600 times.
        """
        met = self.value(
            "(async () => { for (let frame = 0; frame < 600; frame++) {"
            f" if ({expression}) return true;"
            " await new Promise(done => requestAnimationFrame(done)); } return false; })()"
        )
        assert met, f"never true: {expression}"

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
        elif method == "Page.lifecycleEvent" and details["name"] == "load":
            self._loaded.add(details["loaderId"])
        elif method == "Network.requestWillBeSent":
            self.requests.append(details["request"]["url"])


@contextmanager
def opened(file: Path | str, profile: Path, fragment: str = "", **view: Any) -> Iterator[Page]:
    """The page at `file`, or at an address, in a browser with a fresh profile. `view`: see
    `Page.set_view`.
    """
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
        page.open(file, fragment, **view)
        yield page
    finally:
        with suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()
        os.close(from_browser[0])
        os.close(to_browser[1])
