"""A server in a process of its own, which can be killed: `python served_answers.py PORT LOG DIES`.

It answers each prompt with its words in reverse, writes the prompt into the file LOG, and kills
itself before the answer to request number DIES for text (0: never).
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

WORDS = 12  # of an answer


def main(port: int, log: Path, dies: int) -> None:
    from support.fake_servers import FakeServer

    def answer(body):
        with log.open("a") as file:
            file.write(json.dumps(body["prompt"]) + "\n")
        if dies and len(log.read_text().splitlines()) >= dies:
            os.kill(os.getpid(), signal.SIGKILL)
        return [f"{word} " for word in reversed(body["prompt"].split()[:WORDS])]

    with FakeServer(says=answer, port=port):
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        time.sleep(600)


def free_port() -> int:
    """A port that nothing listens on."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


@contextmanager
def serve(port: int, log: Path, dies: int = 0):
    """The server, from when it listens until it is killed."""
    place = Path(__file__).parents[1]
    environment = {**os.environ, "PYTHONPATH": f"{place}{os.pathsep}{place.parent}"}
    process = subprocess.Popen(
        [sys.executable, __file__, str(port), str(log), str(dies)],
        stdout=subprocess.PIPE,
        env=environment,
        text=True,
    )
    try:
        assert process.stdout.readline() == "ready\n"
        yield process
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def read_prompts(log: Path) -> list[str]:
    """What the server was asked, in order, without the words that every connection begins with."""
    from llmbench.adapters.servers.connecting import FIRST_WORDS

    asked = [json.loads(line) for line in log.read_text().splitlines()]
    return [prompt for prompt in asked if prompt != FIRST_WORDS.prompt]


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
