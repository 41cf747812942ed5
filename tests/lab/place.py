"""A folder of a test's own, and the processes that belong to it.

Everything a test makes lies below its Folder, and every process it starts carries the folder's path in its
environment, its arguments or its open files. So what is left behind can be found, and ended by its process id, even
when it was started by something that has died since.
"""

import ctypes
import os
import shutil
import signal
import subprocess
import tempfile
import time

from pace import scaled

PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True)


class LabError(Exception):
    """Something of the lab failed, or took longer than it may."""


def wait_for(check, seconds, what, every=0.05):
    """Polls until check() gives something true, and returns that. A false end is an error that names what was
    missing; `what` may be a function, asked only then. `seconds` are a fast machine's: pace.scaled() makes them this
    one's, and is asked only when they have passed."""
    began, limit, scaled_yet = time.monotonic(), seconds, False
    while True:
        value = check()
        if value:
            return value
        if time.monotonic() - began >= limit and not scaled_yet:
            limit, scaled_yet = scaled(seconds), True
        if time.monotonic() - began >= limit:
            raise LabError(f"waited {limit:g} s for {what() if callable(what) else what}")
        time.sleep(every)


def die_with_parent():
    """For preexec_fn: SIGKILL when the thread that started the process has gone."""
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def kill_process(pid, sig=signal.SIGKILL, seconds=10):
    """Signals one process by id and waits until it has gone. True when it was there."""
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return False
    try:
        signal.pidfd_send_signal(fd, sig)
        wait_for(lambda: not alive(pid), seconds, f"process {pid} to end")
    except ProcessLookupError:
        pass
    finally:
        os.close(fd)
    return True


def alive(pid):
    """True unless the process is gone or a zombie."""
    try:
        with open(f"/proc/{pid}/stat") as f:
            return f.read().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def _mentions(pid, path):
    needle = path.encode()
    for name in ("cmdline", "environ"):
        try:
            with open(f"/proc/{pid}/{name}", "rb") as f:
                if needle in f.read():
                    return True
        except OSError:
            pass
    links = [f"/proc/{pid}/cwd"]
    try:
        links += [f"/proc/{pid}/fd/{fd}" for fd in os.listdir(f"/proc/{pid}/fd")]
    except OSError:
        pass
    for link in links:
        try:
            if os.readlink(link).startswith(path):
                return True
        except OSError:
            pass
    return False


def processes_of(path):
    """Ids of the living processes that mention the path, other than the caller's own."""
    mine = {os.getpid(), os.getppid()}
    pids = [int(p) for p in os.listdir("/proc") if p.isdigit() and int(p) not in mine]
    return [p for p in pids if alive(p) and _mentions(p, path)]


def command_of(pid):
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as f:
            return f.read().replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError:
        return ""


class Folder:
    """A temporary folder. close() ends the processes that are left in it and removes it, unless `keep` is set."""

    def __init__(self, name="test"):
        self.path = tempfile.mkdtemp(prefix=f"cronsched-{name}-")
        self.keep = bool(os.environ.get("CRONSCHED_LAB_KEEP"))
        self.left = []  # what close() found still running: (pid, command)

    def __str__(self):
        return self.path

    def join(self, *parts):
        return os.path.join(self.path, *parts)

    def make(self, *parts, mode=0o755):
        path = self.join(*parts)
        os.makedirs(path, exist_ok=True)
        os.chmod(path, mode)
        return path

    def write(self, name, text, mode=None):
        path = self.join(name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb" if isinstance(text, bytes) else "w") as f:
            f.write(text)
        if mode is not None:
            os.chmod(path, mode)
        return path

    def read(self, name):
        try:
            with open(self.join(name), errors="replace") as f:
                return f.read()
        except FileNotFoundError:
            return ""

    def close(self):
        self.left = [(p, command_of(p)) for p in processes_of(self.path)]
        for pid, _ in self.left:
            kill_process(pid)
        if not self.keep:
            shutil.rmtree(self.path, ignore_errors=True)


class Tmpfs:
    """A small file system of its own, to be filled up. Needs root."""

    def __init__(self, path, size):
        os.makedirs(path, exist_ok=True)
        self.path, self.mounted = path, False
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size},mode=0700", "tmpfs", path],
                              capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise LabError(f"cannot mount a tmpfs: {done.stderr.strip()}")
        self.mounted = True

    def close(self):
        if self.mounted:
            subprocess.run(["umount", "-l", self.path], check=False, capture_output=True)
        self.mounted = False
