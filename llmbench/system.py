"""What operating systems do differently, each with a portable way: locks, groups of processes,
alarms, pipes, cores and the files of the kernel.

No other module asks for a function that one of Linux, macOS and Windows lacks; a test looks for
them. `limits` says how long things are waited for.
"""

from __future__ import annotations

import errno
import importlib
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    import queue

WINDOWS = sys.platform == "win32"
LINUX = sys.platform == "linux"
MAC = sys.platform == "darwin"

_OS = os.__dict__  # a flag that a system lacks is 0
READING = os.O_RDONLY | _OS.get("O_NONBLOCK", 0) | _OS.get("O_CLOEXEC", 0) | _OS.get("O_BINARY", 0)
ADDING = os.O_RDWR | os.O_APPEND | os.O_CREAT | _OS.get("O_CLOEXEC", 0) | _OS.get("O_BINARY", 0)

# Signals, by the numbers that they have wherever they exist
KILLED = -9  # the exit code of a process that was killed
ENDING = tuple(
    number
    for name in ("SIGINT", "SIGTERM", "SIGHUP")
    if (number := signal.__dict__.get(name)) is not None
)  # those that ask a program to end

# Locks
# ----------------------------------------------------------------------------------------------

LOCKED_BYTE = 1 << 30  # of a file on Windows, where a lock is of bytes: one that nobody reads
HELD = (errno.EACCES, errno.EAGAIN, errno.EDEADLK)


def lock(file: int | IO[Any], wait: bool = False) -> None:
    """Lock an open file for this process, until it is closed. OSError if another one holds it,
    unless it is to `wait`.
    """
    handle = file if isinstance(file, int) else file.fileno()
    if not WINDOWS:
        fcntl: Any = importlib.import_module("fcntl")
        fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        return
    msvcrt: Any = importlib.import_module("msvcrt")
    before = os.lseek(handle, 0, os.SEEK_CUR)
    try:
        os.lseek(handle, LOCKED_BYTE, os.SEEK_SET)
        while True:
            try:  # LK_LOCK tries for ten seconds, and gives up
                msvcrt.locking(handle, msvcrt.LK_LOCK if wait else msvcrt.LK_NBLCK, 1)
                return
            except OSError as error:
                if not wait or error.errno not in HELD:
                    raise
    finally:
        os.lseek(handle, before, os.SEEK_SET)


def flush_file(path: Path) -> None:
    """Write a file to the disk. Windows does so only for one that is open for writing."""
    with path.open("r+b" if WINDOWS else "rb") as handle:
        os.fsync(handle.fileno())


def flush_folder(path: Path) -> None:
    """Write the names of a folder to the disk, where a folder can be opened."""
    if not WINDOWS:
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


# Groups of processes
# ----------------------------------------------------------------------------------------------

# of subprocess.Popen, for a group of its own, so that Ctrl-C reaches the parent alone
OWN_SESSION = not WINDOWS
OWN_GROUP = 0x200 if WINDOWS else 0  # CREATE_NEW_PROCESS_GROUP
GUARDS = "LLMBENCH_GUARDS"  # the variable of a process that ends others as soon as its stdin ends


def kill_group(leader: int) -> None:
    """Kill the process that began a group, and all of the group. On Windows these are its children
    and theirs, as far as their parents still run. Nothing happens if there is none.
    """
    if not WINDOWS:
        with suppress(OSError):
            os.killpg(leader, signal.SIGKILL)
        return
    for process in _list_tree(leader):
        with suppress(Exception):  # it has ended
            process.kill()


def ask_group_to_end(leader: int) -> None:
    """Ask a group to end. Windows has no way to ask, and ends the processes."""
    if not WINDOWS:
        with suppress(OSError):
            os.killpg(leader, signal.SIGTERM)
        return
    kill_group(leader)


def _list_tree(leader: int) -> Sequence[Any]:
    """A process and its descendants, these first."""
    psutil: Any = importlib.import_module("psutil")
    try:
        first = psutil.Process(leader)
        return [*reversed(first.children(recursive=True)), first]
    except psutil.Error:
        return []


def end_with_parent() -> None:
    """Have the kernel end this process with its parent, whatever it does. Elsewhere than on Linux a
    process has to see for itself that its stdin ends.
    """
    if LINUX:
        import ctypes

        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # 1: PR_SET_PDEATHSIG, see prctl(2)


def list_cores() -> list[int]:
    """Return the numbers of the cores that this process may use."""
    if LINUX:
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def bind(process: int, cores: Sequence[int]) -> None:
    """Keep a process that has just begun to these cores, where the system can do so."""
    with suppress(OSError):  # it has ended already
        if LINUX:
            os.sched_setaffinity(process, cores)
        elif WINDOWS:
            psutil: Any = importlib.import_module("psutil")
            with suppress(psutil.Error):
                psutil.Process(process).cpu_affinity(list(cores))


# Waiting
# ----------------------------------------------------------------------------------------------


class PipeReader:
    """Reads a pipe with a time limit. Windows cannot wait for a pipe: a thread reads it there."""

    SIZE = 1 << 16  # bytes at most, at once

    def __init__(self, pipe: int | IO[Any], by_thread: bool | None = None):
        """by_thread: whether a thread reads it; by default as the system needs."""
        self._handle = pipe if isinstance(pipe, int) else pipe.fileno()
        self._pieces: queue.SimpleQueue[bytes] | None = None
        self._is_over = False
        if WINDOWS if by_thread is None else by_thread:
            import queue

            self._pieces = queue.SimpleQueue()
            threading.Thread(target=self._pump, args=(self._pieces,), daemon=True).start()

    def read(self, timeout: float) -> bytes | None:
        """Return what is there as soon as something is, b"" at the pipe's end, and None if nothing
        came within `timeout` seconds.
        """
        if self._is_over:
            return b""
        if self._pieces is None:
            import selectors

            with selectors.DefaultSelector() as selector:
                selector.register(self._handle, selectors.EVENT_READ)
                if not selector.select(timeout):
                    return None
            return os.read(self._handle, self.SIZE)
        from queue import Empty

        try:
            piece = self._pieces.get(timeout=timeout) if timeout > 0 else self._pieces.get_nowait()
        except Empty:
            return None
        self._is_over = not piece
        return piece

    def _pump(self, pieces: queue.SimpleQueue[bytes]) -> None:
        while True:
            try:
                piece = os.read(self._handle, self.SIZE)
            except OSError:  # it was closed
                piece = b""
            pieces.put(piece)
            if not piece:
                return


@contextmanager
def raise_after(
    seconds: float, error: type[BaseException], every: float = 0.1, by_thread: bool | None = None
) -> Iterator[None]:
    """Raise `error` in the main thread after so many seconds in the block, and again `every` so
    many, since somebody's code may swallow the first. In other threads nothing happens.

    by_thread: whether another thread raises it, which a system without SIGALRM needs: then it comes
    between two steps of Python, and not within a call of C.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
    elif not has_alarm() if by_thread is None else by_thread:
        yield from _raise_by_thread(seconds, error, every)
    else:
        yield from _raise_by_signal(seconds, error, every)


def has_alarm() -> bool:
    """Whether the system has alarms."""
    return "SIGALRM" in signal.__dict__


def _raise_by_signal(seconds: float, error: type[BaseException], every: float) -> Iterator[None]:
    def ring(number: int, frame: FrameType | None) -> None:
        raise error

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds, every)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _raise_by_thread(seconds: float, error: type[BaseException], every: float) -> Iterator[None]:
    import ctypes

    over = threading.Event()
    thread = ctypes.c_ulong(threading.get_ident())
    set_error = ctypes.pythonapi.PyThreadState_SetAsyncExc

    def ring() -> None:
        wait = seconds
        while not over.wait(wait):
            set_error(thread, ctypes.py_object(error))
            wait = every

    ringing = threading.Thread(target=ring, daemon=True)
    ringing.start()
    try:
        yield
    finally:
        over.set()
        ringing.join()
        set_error(thread, None)  # one that has not been raised yet


# Files of the kernel
# ----------------------------------------------------------------------------------------------

PROC = Path("/proc")


def read_proc(name: str) -> str:
    """Return what a file of /proc says; "" where there is none."""
    try:
        return (PROC / name).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def read_load() -> float | None:
    """Return the mean number of running processes in the last minute; None if nobody counts."""
    if not WINDOWS:
        with suppress(OSError):
            return round(os.getloadavg()[0], 2)
    return None


def name_processor() -> str:
    """Return what the system calls the processor; "" if it does not say."""
    if LINUX:
        for line in read_proc("cpuinfo").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    if MAC:
        import subprocess

        command = ["/usr/sbin/sysctl", "-n", "machdep.cpu.brand_string"]
        with suppress(OSError, subprocess.SubprocessError):
            done = subprocess.run(command, capture_output=True, text=True, timeout=5, check=True)
            return done.stdout.strip()
    return ""
