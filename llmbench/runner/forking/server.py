"""A process that has imported what workers import, and forks one whenever it is asked to: the
imports of torch and transformers take longer than most models take to load.

`python -m llmbench.runner.forking.server SOCKET MODULE ...`, SOCKET being a file descriptor.
The last MODULE has the `main` of a worker. No model, no thread and no GPU is touched before a fork.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import socket
import sys

from llmbench import system

PIPES = 3  # of a worker: stdin, stdout, stderr
REQUEST_BYTES = 1 << 12  # more than any request or answer has


def main() -> None:
    """Entry point of the process."""
    system.end_with_parent()
    parent = socket.socket(fileno=int(sys.argv[1]))
    for name in sys.argv[2:]:
        module = importlib.import_module(name)
    gc.collect()
    gc.freeze()  # so that a collection in a worker copies no page of these modules
    if serve(parent):
        parent.close()
        module.main()


def serve(parent: socket.socket) -> bool:
    """Fork, and tell how workers ended, until the parent is gone. True in a worker."""
    parent.sendall(b"{}")  # imported
    while True:
        line, pipes, _, _ = socket.recv_fds(parent, REQUEST_BYTES, PIPES)
        if not line:
            return False
        request = json.loads(line)
        if request["do"] == "fork":
            begun, begins = os.pipe()
            pid = os.fork()
            if pid == 0:
                system.end_with_parent()
                os.setsid()
                os.close(begun)
                os.close(begins)
                os.environ |= request["environment"]
                for number, pipe in enumerate(pipes):
                    os.dup2(pipe, number)
                    os.close(pipe)
                return True
            for pipe in (begins, *pipes):
                os.close(pipe)
            os.read(begun, 1)  # until it has a session, by which it can be killed
            os.close(begun)
            answer: dict[str, int | None] = {"pid": pid}
        else:
            ended, status = os.waitpid(request["pid"], os.WNOHANG)
            answer = {"code": os.waitstatus_to_exitcode(status) if ended else None}
        parent.sendall(json.dumps(answer).encode())


if __name__ == "__main__":
    main()
