"""What systems do differently stands in one module, and its ways for Windows and macOS work: with
fakes of what is not here, and with what is.
"""

from __future__ import annotations

import ast
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import ModuleType

import psutil
import pytest

import llmbench
from llmbench import system

PACKAGE = Path(llmbench.__file__).parent
LINUX_ONLY = pytest.mark.skipif(sys.platform != "linux", reason="needs Linux")

# Where it may stand
# ----------------------------------------------------------------------------------------------

MODULES = {"fcntl", "grp", "msvcrt", "posix", "pty", "pwd", "resource", "termios", "tty", "winreg"}
# of os and signal: what Python's documentation says is not available on Windows, or only there
OF_OS = {
    *("O_NONBLOCK", "O_CLOEXEC", "O_BINARY", "fork", "forkpty", "getloadavg", "getpgid", "getuid"),
    *(
        "killpg",
        "mkfifo",
        "pread",
        "pwrite",
        "register_at_fork",
        "sched_getaffinity",
        "sched_yield",
    ),
    *(
        "sched_setaffinity",
        "setpgid",
        "setsid",
        "sysconf",
        "uname",
        "wait",
        "wait3",
        "wait4",
        "nice",
    ),
    *(
        "posix_spawn",
        "startfile",
        "chown",
        "geteuid",
        "getgroups",
        "fchmod",
        "sendfile",
        "memfd_create",
    ),
}
OF_SIGNAL = {
    *("SIGALRM", "SIGCHLD", "SIGHUP", "SIGKILL", "SIGPIPE", "SIGQUIT", "SIGSTOP", "SIGUSR1"),
    *("ITIMER_REAL", "alarm", "pause", "pthread_kill", "pthread_sigmask", "setitimer", "sigwait"),
    *("sigwaitinfo", "SIG_BLOCK", "SIG_SETMASK", "CTRL_BREAK_EVENT", "CTRL_C_EVENT"),
}
OF_SOCKET = {"AF_UNIX", "SOCK_SEQPACKET", "send_fds", "recv_fds"}
ASKED = {"os": OF_OS, "signal": OF_SIGNAL, "socket": OF_SOCKET}
# files that only Linux reaches, and what leads there
KEPT_TO_LINUX = {
    "cli/watching.py": "watch returns at once elsewhere",
    "runner/forking/forked.py": "open_server gives none elsewhere",
    "runner/forking/server.py": "started by forked.py alone",
    "runner/judging/suite.py": "None elsewhere",
    "runner/workers/max_batch.py": "limit asks for the platform",
}
# Files of the kernel and folders that one system has: only where each is tried, not relied on
PATHS = ("/proc", "/dev/", "/sys/", "/tmp", "/usr/", "/var/", "C:\\")
TRIED = {
    "system.py": {"/proc", "/usr/sbin/sysctl"},
    "hardware/machine.py": {
        *("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", "/sys/fs/cgroup"),
        *("/dev/nvidiactl", "/dev/nvhost-gpu", "/dev/nvgpu", "/dev/kfd"),
    },
    "hardware/energy.py": {"/sys/class/powercap"},
}
SOURCES = {
    file.relative_to(PACKAGE).as_posix(): file.read_text(encoding="utf-8")
    for file in sorted(PACKAGE.rglob("*.py"))
}


def find_unportable(tree):
    """Modules and names of modules that some system lacks, with their lines."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names if alias.name in MODULES}
        elif isinstance(node, ast.ImportFrom):
            known = ASKED.get(node.module or "", set())
            found |= {f"{node.module}.{a.name}" for a in node.names if a.name in known}
            found |= {node.module} & MODULES
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            if node.attr in ASKED.get(node.value.id, ()):
                found.add(f"{node.value.id}.{node.attr}")
        elif isinstance(node, ast.keyword) and node.arg in ("preexec_fn", "pass_fds"):
            found.add(node.arg)
    return found


@pytest.mark.parametrize(
    ("code", "found"),
    [
        ("import fcntl", {"fcntl"}),
        ("from os import killpg", {"os.killpg"}),
        ("def f():\n    os.fork()", {"os.fork"}),
        ("x = signal.SIGKILL", {"signal.SIGKILL"}),
        ("Popen(x, preexec_fn=f)", {"preexec_fn"}),
        ("os.replace(a, b); signal.SIGTERM; import select", set()),
    ],
)
def test_the_scan_sees_what_a_system_lacks(code, found):
    assert find_unportable(ast.parse(code)) == found


# the words that a file must have for the scan to find something: most have none, and are not parsed
WORDS = re.compile("|".join({*MODULES, *OF_OS, *OF_SIGNAL, *OF_SOCKET, "preexec_fn", "pass_fds"}))


def test_what_a_system_lacks_stands_in_one_module():
    found = {
        name: sorted(asked)
        for name, text in SOURCES.items()
        if name != "system.py" and name not in KEPT_TO_LINUX and WORDS.search(text)
        if (asked := find_unportable(ast.parse(text)))
    }
    assert found == {}
    assert all(find_unportable(ast.parse(SOURCES[name])) for name in KEPT_TO_LINUX)


def test_a_file_that_only_linux_reaches_asks_for_nothing_when_it_is_imported():
    for name in KEPT_TO_LINUX:
        tree = ast.parse(SOURCES[name])
        functions = (ast.FunctionDef, ast.ClassDef)
        outside = [node for node in tree.body if not isinstance(node, functions)]
        assert find_unportable(ast.Module(outside, [])) == set(), name


def list_paths(text):
    if not any(path.replace("\\", "") in text for path in PATHS):
        return set()
    tree = ast.parse(text)
    strings = {
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    return {word for word in strings if word.startswith(PATHS)}


def test_paths_of_one_system_are_known_and_few():
    found = {name: paths for name, text in SOURCES.items() if (paths := list_paths(text))}
    assert found == TRIED


# What is imported on another system
# ----------------------------------------------------------------------------------------------

# Libraries first, which look for themselves what system they are on; then the system loses what
# Windows lacks, and llmbench is imported.
PRETENDED = """
import asyncio, concurrent.futures, ctypes, importlib, logging, multiprocessing, os, pty, queue
import resource, selectors, shutil, signal, socket, subprocess, sys, tempfile, urllib.request
import altair, click, jinja2, numpy, psutil, pyarrow.parquet, pydantic, regex, rich.console, scipy
import rich.progress, yaml, http.server, rich.live
names, modules = {names!r}, {modules!r}
for module, lost in names.items():
    for name in lost:
        vars(sys.modules[module]).pop(name, None)
for name in modules:
    sys.modules[name] = None  # import raises ImportError
sys.platform = "win32"
for name in {wanted!r}:
    importlib.import_module(name)
from llmbench import system
assert system.WINDOWS and not system.LINUX
from click.testing import CliRunner
from llmbench.cli.main import cli
done = CliRunner().invoke(cli, ["models"])
assert done.exit_code == 0 and "byte-ngram" in done.output, done
print("imported")
"""
WANTED = (
    *(
        "llmbench",
        "llmbench.cli.main",
        "llmbench.api",
        "llmbench.runner.run",
        "llmbench.votes.ballots",
    ),
    *("llmbench.runner.worker", "llmbench.runner.engine.remote", "llmbench.publishing.verify"),
    *(
        "llmbench.conformance.kit",
        "llmbench.adapters.servers.adapter",
        "llmbench.runner.forking.server",
    ),
    *("llmbench.adapters.servers.serve.guard", "llmbench.runner.workers.max_batch"),
)


def test_the_program_is_imported_where_windows_lacks_functions():
    names = {module: sorted(lost) for module, lost in ASKED.items()}
    lost = sorted(MODULES - {"msvcrt", "winreg"})
    code = PRETENDED.format(names=names, modules=lost, wanted=WANTED)
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.stdout == "imported\n", done.stderr


# What it does here, and what it would do there
# ----------------------------------------------------------------------------------------------


def test_a_lock_is_of_one_at_a_time(tmp_path):
    path = tmp_path / "lock"
    with path.open("w") as first:
        system.lock(first)
        with path.open("r+") as second, pytest.raises(OSError):
            system.lock(second)
    with path.open("r+") as third:
        system.lock(third)


def pretend_windows(monkeypatch, **modules):
    monkeypatch.setattr(system, "WINDOWS", True)
    monkeypatch.setattr(system, "LINUX", False)
    for name, functions in modules.items():
        fake = ModuleType(name)
        vars(fake).update(functions)
        monkeypatch.setitem(sys.modules, name, fake)


def test_a_lock_on_windows_is_of_a_byte_that_nobody_reads(tmp_path, monkeypatch):
    asked = []

    def locking(handle, mode, count):
        asked.append((os.lseek(handle, 0, os.SEEK_CUR), mode, count))
        if mode == 1 and len(asked) < 3:  # LK_LOCK gives up after ten seconds
            raise OSError(36, "Resource deadlock avoided")

    monkeypatch.setattr(system, "HELD", (36,))
    pretend_windows(monkeypatch, msvcrt={"locking": locking, "LK_LOCK": 1, "LK_NBLCK": 2})
    with (tmp_path / "file").open("w+b") as file:
        file.write(b"abc")
        file.flush()
        system.lock(file)
        assert asked == [(system.LOCKED_BYTE, 2, 1)]
        asked.clear()
        system.lock(file, wait=True)
        assert asked == [(system.LOCKED_BYTE, 1, 1)] * 3
        assert os.lseek(file.fileno(), 0, os.SEEK_CUR) == 3


def test_a_lock_that_another_holds_on_windows_raises(tmp_path, monkeypatch):
    def locking(handle, mode, count):
        raise PermissionError(13, "Permission denied")

    pretend_windows(monkeypatch, msvcrt={"locking": locking, "LK_LOCK": 1, "LK_NBLCK": 2})
    with (tmp_path / "file").open("w") as file, pytest.raises(OSError, match="denied"):
        system.lock(file)


PARENT = """
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
print(child.pid, flush=True)
child.wait()
"""


@pytest.mark.parametrize("windows", [False, True], ids=["group", "tree"])
def test_a_group_is_killed_with_all_that_it_started(monkeypatch, windows):
    monkeypatch.setattr(system, "WINDOWS", windows)
    process = subprocess.Popen(
        [sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    with process:
        child = psutil.Process(int(process.stdout.readline()))
        system.kill_group(process.pid)
        process.wait(30)
        psutil.wait_procs([child], timeout=30)
    assert process.returncode == -signal.SIGKILL == system.KILLED
    assert not child.is_running() or child.status() == psutil.STATUS_ZOMBIE
    system.kill_group(process.pid)  # nobody is left
    system.ask_group_to_end(process.pid)


@pytest.mark.parametrize("by_thread", [False, True], ids=["selector", "thread"])
def test_a_pipe_is_read_as_soon_as_something_is_there(by_thread):
    out, into = os.pipe()
    reader = system.PipeReader(out, by_thread)
    assert reader.read(0.0) is None
    assert reader.read(0.02) is None
    os.write(into, b"one\n")
    assert reader.read(30.0) == b"one\n"
    os.write(into, b"two\n")
    os.close(into)
    assert reader.read(30.0) == b"two\n"
    assert reader.read(30.0) == b""
    assert reader.read(30.0) == b""
    os.close(out)


class TooLate(Exception):
    """The time is over."""


@pytest.mark.parametrize("by_thread", [False, True], ids=["signal", "thread"])
def test_an_alarm_rings_in_the_block_and_not_after_it(by_thread):
    def wait():
        with system.raise_after(0.02, TooLate, by_thread=by_thread):
            while True:
                time.monotonic()

    with pytest.raises(TooLate):
        wait()
    with system.raise_after(60.0, TooLate, by_thread=by_thread):
        pass
    begun = time.monotonic()
    while time.monotonic() - begun < 0.15:  # longer than between two rings
        pass


@pytest.mark.parametrize("by_thread", [False, True], ids=["signal", "thread"])
def test_an_alarm_that_is_swallowed_rings_again(by_thread):
    swallowed = 0

    def swallow():
        nonlocal swallowed
        try:
            while True:
                time.monotonic()
        except TooLate:
            swallowed += 1
            if swallowed == 3:
                raise

    def work():
        with system.raise_after(0.01, TooLate, 0.01, by_thread):
            while True:
                swallow()

    with pytest.raises(TooLate):
        work()
    assert swallowed == 3


def test_in_another_thread_nothing_rings():
    rung = []

    def work():
        with system.raise_after(0.0, TooLate):
            rung.append(False)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert rung == [False]


def test_files_are_flushed_and_folders_where_they_can_be(tmp_path, monkeypatch):
    file = tmp_path / "file"
    file.write_bytes(b"abc")
    flushed = []
    monkeypatch.setattr(system.os, "fsync", lambda handle: flushed.append(handle))
    system.flush_file(file)
    system.flush_folder(tmp_path)
    assert len(flushed) == 2
    monkeypatch.setattr(system, "WINDOWS", True)
    system.flush_file(file)
    system.flush_folder(tmp_path)  # no folder can be opened there
    assert len(flushed) == 3
    assert file.read_bytes() == b"abc"


def test_what_the_kernel_does_not_tell_is_empty(tmp_path, monkeypatch):
    monkeypatch.setattr(system, "PROC", tmp_path)
    assert system.read_proc("cpuinfo") == ""
    (tmp_path / "cpuinfo").write_text("processor : 0\nmodel name\t: A Processor\n")
    monkeypatch.setattr(system, "LINUX", True)
    assert system.name_processor() == "A Processor"
    monkeypatch.setattr(system, "LINUX", False)
    assert system.name_processor() == ""


def test_a_mac_is_asked_for_its_processor(monkeypatch):
    monkeypatch.setattr(system, "LINUX", False)
    monkeypatch.setattr(system, "MAC", True)

    def run(command, **options):
        assert command[1:] == ["-n", "machdep.cpu.brand_string"]
        return subprocess.CompletedProcess(command, 0, "Apple M3\n", "")

    monkeypatch.setattr(subprocess, "run", run)
    assert system.name_processor() == "Apple M3"


def test_cores_are_counted_and_bound_as_the_system_can(monkeypatch):
    assert system.list_cores()
    asked = []

    class Process:
        def __init__(self, pid):
            self.pid = pid

        def cpu_affinity(self, cores):
            asked.append((self.pid, cores))

    pretend_windows(monkeypatch, psutil={"Process": Process, "Error": psutil.Error})
    assert system.list_cores() == list(range(os.cpu_count()))
    system.bind(7, (1, 2))
    assert asked == [(7, [1, 2])]
    assert system.read_load() is None
