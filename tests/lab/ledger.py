"""The ledger that attempts write themselves, and a checker that compares it with the schedule.

Nothing here asks the program under test what it did: an attempt appends a line when it starts and one when it ends,
with the identity it was given and the kernel's boot time, to a file opened for appending. The checker knows the
schedule by arithmetic. So the two can only agree when the program did what it says.

The rules are those of Jepsen's Chronos checker, per job and target time: a complete run whose start lies within
[target, target + epsilon + forgiveness]; plus the one that it lacks: no run and no attempt ever starts twice, complete
or not.
"""

import collections
import os

from server import run_id

FORGIVENESS_S = 5

Line = collections.namedtuple("Line", "what run attempt up wall")


class Ledger:
    """A file in a folder of its own, which docker jobs mount at /ledger and process jobs reach by its path."""

    def __init__(self, folder, name="ledger"):
        self.folder = folder.make(name, mode=0o777)
        self.path = os.path.join(self.folder, "lines")
        with open(self.path, "w"):
            pass
        os.chmod(self.path, 0o666)

    def script(self, path, body="true"):
        """A shell script that writes its start, does `body`, writes its end, and exits with the body's exit code.
        One echo is one write to a file opened for appending. No program is started for it: it is cheap."""
        note = "read up rest < /proc/uptime; echo {} $CRONSCHED_RUN $CRONSCHED_ATTEMPT $up >> " + path
        return f"{note.format('start')}; ( {body} ); code=$?; {note.format('end')}; exit $code"

    def docker_job(self, body="true", **keys):
        """On the engine's network, unless the keys say otherwise: to make a container one of its own, even an empty one
        ("none"), is half of what the container costs, since dockerd runs itself once more for it."""
        return {"engine": "docker", "image": "busybox:local", "pull": "never", "network": "host",
                "volumes": [f"{self.folder}:/ledger"],
                "command": ["sh", "-c", self.script("/ledger/lines", body)], **keys}

    def process_job(self, body="true", **keys):
        return {"engine": "process", "command": ["sh", "-c", self.script(self.path, body)], **keys}

    def job(self, engine, body="true", **keys):
        return (self.docker_job if engine == "docker" else self.process_job)(body, **keys)

    def lines(self):
        """What was written, in order. Uptimes become seconds since the epoch too, by today's difference."""
        import time
        offset = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
        found = []
        with open(self.path) as f:
            for text in f:
                word = text.split()
                if len(word) == 4 and word[0] in ("start", "end") and text.endswith("\n"):
                    found.append(Line(word[0], word[1], int(word[2]), float(word[3]), float(word[3]) + offset))
                else:
                    raise AssertionError(f"a torn line in the ledger: {text!r}")
        return found

    def starts(self, run=None):
        """Starts of one run, or {run: starts}."""
        counts = collections.Counter(line.run for line in self.lines() if line.what == "start")
        return counts[run] if run is not None else counts


class Checker:
    """Collects what is wrong, as text; an empty list is a pass."""

    def __init__(self, ledger):
        self.lines = ledger.lines()
        self.problems = []

    def problem(self, text):
        self.problems.append(text)

    def strict(self, attempts_allowed=1):
        """No attempt started twice, no run more often than it may have attempts."""
        per_attempt = collections.Counter((x.run, x.attempt) for x in self.lines if x.what == "start")
        per_run = collections.Counter(x.run for x in self.lines if x.what == "start")
        for (run, attempt), n in sorted(per_attempt.items()):
            if n > 1:
                self.problem(f"DOUBLE: {run}#{attempt} started {n} times")
        for run, n in sorted(per_run.items()):
            if n > attempts_allowed:
                self.problem(f"DOUBLE: {run} started {n} times")
        started = {(x.run, x.attempt) for x in self.lines if x.what == "start"}
        for x in self.lines:
            if x.what == "end" and (x.run, x.attempt) not in started:
                self.problem(f"{x.run}#{x.attempt} ended and never started")
        return self

    def doubles(self):
        return [p for p in self.problems if p.startswith("DOUBLE")]

    def targets(self, job, times, epsilon_s, excused=()):
        """Every target time has a complete run of its identity, started in its window. `excused` are run ids that a
        recorded verdict accounts for."""
        first_start = {}
        ended = set()
        for x in self.lines:
            if x.what == "start":
                first_start.setdefault(x.run, x.wall)
            else:
                ended.add(x.run)
        for t in times:
            run = run_id(job, t)
            if run in excused:
                continue
            if run not in first_start:
                self.problem(f"MISSED: {run} never started")
            elif not -0.05 <= first_start[run] - t <= epsilon_s + FORGIVENESS_S:
                self.problem(f"{run} started {first_start[run] - t:.2f} s after its time")
            elif run not in ended:
                self.problem(f"{run} started and did not end")
        return self

    def lateness(self, times_by_run):
        """Seconds between the nominal time of each run and its start, sorted; {run: time} in."""
        return sorted(x.wall - times_by_run[x.run] for x in self.lines
                      if x.what == "start" and x.run in times_by_run)


def every_second(first, last):
    return range(int(first), int(last) + 1)
