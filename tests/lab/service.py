"""A program that a lab keeps in a folder of its own: its log and its process id lie there.

    s = Service(path, "serve")      # path/serve.pid, path/serve.log
    s.spawn([...])                  # by anyone; the command must mention the path
    s.pid                           # None unless it runs, whoever started it

It ends with the process that started it, unless it is `detached`: then any later process finds it by the folder.
"""

import os
import signal
import subprocess

from pace import scaled
from place import alive, die_with_parent, kill_process


class Service:
    def __init__(self, path, name, detached=False):
        self.path, self.name, self.detached = path, name, detached
        self.process = None  # set while it is a child of this process
        os.makedirs(path, exist_ok=True)

    def file(self, name):
        return os.path.join(self.path, name)

    @property
    def pid_file(self):
        return self.file(f"{self.name}.pid")

    @property
    def log_path(self):
        return self.file(f"{self.name}.log")

    def spawn(self, command, **kwargs):
        with open(self.log_path, "ab") as out:
            self.process = subprocess.Popen(
                command, cwd=self.path, stdin=subprocess.DEVNULL, stdout=out, stderr=out,
                start_new_session=self.detached, preexec_fn=None if self.detached else die_with_parent, **kwargs)
        with open(self.pid_file, "w") as f:
            f.write(f"{self.process.pid}\n")

    @property
    def pid(self):
        """None when it does not run."""
        try:
            with open(self.pid_file) as f:
                pid = int(f.read())
            with open(f"/proc/{pid}/cmdline", "rb") as f:
                words = f.read()
        except (OSError, ValueError):
            return None
        mine = not words or self.path.encode() in words  # no words: in the midst of exec; others: the number's new owner
        return pid if mine and alive(pid) else None

    def signal(self, sig, seconds=20):
        """Ends it by this signal, and waits for that."""
        pid = self.pid
        if pid:
            kill_process(pid, sig, seconds)
        if self.process:
            self.process.wait(scaled(seconds))
            self.process = None

    def kill(self):
        self.signal(signal.SIGKILL)

    def stop(self, seconds=30):
        self.signal(signal.SIGTERM, seconds)

    def pause(self):
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self):
        os.kill(self.pid, signal.SIGCONT)

    def log(self):
        try:
            with open(self.log_path, errors="replace") as f:
                return f.read()
        except FileNotFoundError:
            return ""

    def log_tail(self, lines=5):
        return " | ".join(self.log().splitlines()[-lines:]) or "no log"


def children(pid):
    """Ids of the processes that this one started and that are still its own."""
    try:
        with open(f"/proc/{pid}/task/{pid}/children") as f:
            return [int(p) for p in f.read().split()]
    except OSError:
        return []
