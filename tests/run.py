#!/usr/bin/python3
"""Runs every test of the project side by side: meson's unit tests and the suites that print TAP themselves.

usage: tests/run.py --build FOLDER [--only PATTERN]... [--workers N] [--whole]

Measures how fast the machine is, for all deadlines (tests/lab/pace.py). Prints a line for each test case as its suite
reports it, and what a suite leaves to other days (tests/lab/sample.py; --whole leaves nothing); runs a few failed ones
once more, alone; repeats the failed and the unsteady ones with their output and the skipped ones with their reasons;
says what each suite took, and ends with "N passed, N failed". Exits with 1 when anything failed or nothing ran.
A suite is a program tests/*/NAME_test.py; it starts and stops its own services (tests/lab).
"""

import argparse
import fnmatch
import json
import math
import os
import queue
import re
import signal
import subprocess
import sys
import threading
import time

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(TOP, "tests", "lab"))
import pace  # noqa: E402
import sample  # noqa: E402

FOLDERS = ("integration", "lint", "model", "sim")  # of tests/, those whose *_test.py belong to every run
SUITE_LIMIT_S = 20 * 60  # of a fast machine
MESON_WORKERS = 3  # the engines' tests wait more than they compute
END_S = 60
RUN_LIMIT_S = 75 * 60  # then it ends and says so, before somebody ends it who does not
# Suites run side by side on few cores, and some cases are about time. So few failed cases are run once more, alone; one
# that passes then is counted as passed and named as unsteady. More of them are no matter of load.
SECOND_LOOKS_MAX = 8
# The longest first, so that none of them is alone at the end, and those that compute (sim, analysis) or keep Docker busy
# (drill, two_engines, crash_table, random_kill, the unit tests) beside those that wait; all others follow by name.
LONGEST_FIRST = ("drill", "sim", "policies", "two_engines", "journal_lost", "crash_table", "witness", "analysis", "random_kill",
                 "cluster", "swarm", "stopped_leader", "docker", "lifecycle", "secure_cluster")
WORKERS = (os.cpu_count() or 1) + 2  # suites side by side: most wait more than they compute
TAP_LINE = re.compile(r"^(not ok|ok)\b\s*(\d*)\s*-?\s*(.*)$")
SKIPPED = 77  # the exit code of a program that meson is to count as skipped
TAP_PLAN = re.compile(r"^1\.\.(\d+)\s*(?:# SKIP\s*(.*))?")


class Case:
    def __init__(self, suite, name, verdict, detail=()):
        self.suite, self.name, self.verdict, self.detail = suite, name, verdict, list(detail)
        self.unsteady = False  # failed beside the others, passed alone

    def line(self):
        mark = {"passed": "ok  ", "failed": "FAIL", "skipped": "skip"}[self.verdict]
        why = f": {self.detail[0]}" if self.verdict == "skipped" and self.detail else ""
        return f"{mark} {self.suite}: {self.name}{why}"


class TapReader:
    """Lines of TAP in, cases out. What follows a failed line as a comment belongs to it."""

    def __init__(self, suite, report):
        self.suite, self.report = suite, report
        self.planned, self.seen, self.failed, self.pending = None, 0, 0, None
        self.said = ""  # the last line that is no TAP: the reason of a skip in cmocka's programs

    def flush(self):
        if self.pending:
            self.report(self.pending)
        self.pending = None

    def feed(self, line):
        line = line.rstrip("\n")
        plan = TAP_PLAN.match(line)
        if plan:
            self.planned = int(plan.group(1))
            if self.planned == 0 and plan.group(2):  # the whole program
                self.report(Case(self.suite, self.suite, "skipped", [plan.group(2)]))
            return
        found = TAP_LINE.match(line)
        if not found:
            self.said = line.strip()
            if self.pending and self.pending.verdict == "failed":
                self.pending.detail.append(line.lstrip("# "))
            return
        self.flush()
        self.seen += 1
        name, _, directive = found.group(3).partition("# ")
        skipped = directive.upper().startswith("SKIP")
        verdict = "skipped" if skipped else "passed" if found.group(1) == "ok" else "failed"
        self.failed += verdict == "failed"
        reason = directive[4:].strip() if skipped else ""
        if skipped and not name.strip():  # cmocka tells the name of a skipped test, and no reason
            name, reason = reason, self.said or "it says that it cannot run here"
        self.said = ""
        self.pending = Case(self.suite, name.strip() or found.group(2), verdict, [reason] if skipped else [])

    def close(self, exit_code, output_tail):
        """The program has ended: a crash or a plan that was not kept is a failure of its own."""
        self.flush()
        skipped_all = self.planned == 0 and exit_code == SKIPPED
        if self.planned is None or self.seen < self.planned or (exit_code != 0 and not self.failed and not skipped_all):
            what = f"ended with {exit_code} after {self.seen} of {self.planned} cases"
            self.report(Case(self.suite, what, "failed", output_tail))


def suite_name(path):
    return os.path.basename(path)[: -len("_test.py")]


def suites():
    found = []
    for folder in FOLDERS:
        top = os.path.join(TOP, "tests", folder)
        if os.path.isdir(top):
            found += [os.path.join(top, f) for f in os.listdir(top) if f.endswith("_test.py")]
    rank = {name: i for i, name in enumerate(LONGEST_FIRST)}
    return sorted(found, key=lambda p: (rank.get(suite_name(p), len(rank)), p))


def reap(process):
    """(exit code, seconds of computing) of a process that says nothing more; it has END_S to end."""
    deadline = time.monotonic() + pace.scaled(END_S)
    while True:
        pid, status, usage = os.wait4(process.pid, os.WNOHANG)
        if pid:
            process.returncode = os.waitstatus_to_exitcode(status)
            return process.returncode, usage.ru_utime + usage.ru_stime
        if time.monotonic() > deadline:
            os.kill(process.pid, signal.SIGKILL)
        time.sleep(0.02)


class Runner:
    def __init__(self, build, only):
        self.build, self.only = build, only
        self.cases, self.lock, self.running = [], threading.RLock(), set()
        self.took = {}  # suite: (seconds, of them computing)
        self.stopping = False

    def wanted(self, name):
        return not self.only or any(fnmatch.fnmatch(name, p) for p in self.only)

    def report(self, case):
        with self.lock:
            self.cases.append(case)
            print(case.line(), flush=True)

    def spawn(self, command, **kwargs):
        with self.lock:
            if self.stopping:
                raise KeyboardInterrupt
            process = subprocess.Popen(command, cwd=TOP, start_new_session=True, stdin=subprocess.DEVNULL,
                                       stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                                       errors="replace", **kwargs)
            self.running.add(process)
        return process

    def stop(self):
        """Asks every suite to end; each stops what it started by itself."""
        with self.lock:
            self.stopping = True
            for process in self.running:
                process.send_signal(signal.SIGTERM)

    def run_program(self, name, command, line=None):
        """(exit code, output) of a program that is ended after SUITE_LIMIT_S; `line` is called with each line. What it and
        all that it waited for took is noted."""
        began = time.monotonic()
        process = self.spawn(command, env={**os.environ, "CRONSCHED_BUILD": self.build})
        timer = threading.Timer(pace.scaled(SUITE_LIMIT_S), process.send_signal, [signal.SIGTERM])
        timer.start()
        said = []
        for text in process.stdout:
            said.append(text.rstrip("\n"))
            if line:
                line(text)
        timer.cancel()
        with self.lock:  # from here on nobody else waits for it
            self.running.discard(process)
        code, computing = reap(process)
        if name:
            self.took[name] = (time.monotonic() - began, computing)
        return code, said

    def run_suite(self, path):
        name = suite_name(path)
        reader = TapReader(name, self.report)

        def line(text):
            reader.feed(text)
            if text.startswith("## "):  # a suite's own result, such as the crash table
                with self.lock:
                    print(f"     {text[3:].rstrip()}", flush=True)

        code, said = self.run_program(name, ["/usr/bin/python3", path], line)
        reader.close(code, said[-40:])

    def second_look(self):
        """Runs the failed cases again, each alone, and tells those that pass now."""
        failed = [c for c in self.cases if c.verdict == "failed"]
        if not failed or len(failed) > SECOND_LOOKS_MAX:
            return
        paths = {suite_name(p): p for p in suites()}
        for case in failed:
            name = re.sub(r" \([0-9.]+ s\)$", "", case.name)
            if case.suite in paths:
                command = ["/usr/bin/python3", paths[case.suite], "-k", name]
            else:  # one of meson's: the whole program
                command = [*self.meson_test(), case.suite]
            print(f"once more, alone: {case.suite}: {name}", flush=True)
            code, said = self.run_program(None, command)
            passed = code == 0 and (case.suite not in paths or any(line.startswith("ok ") for line in said))
            if passed:
                case.verdict, case.unsteady = "passed", True
            else:
                case.detail += ["alone:"] + said[-40:]

    def meson_test(self):
        return ["meson", "test", "-C", self.build, "--no-rebuild", "--timeout-multiplier", str(math.ceil(pace.patience()))]

    def run_meson(self):
        log = os.path.join(self.build, "meson-logs", "testlog.json")
        if os.path.exists(log):
            os.unlink(log)
        _, output = self.run_program("unit", [*self.meson_test(), "--num-processes", str(MESON_WORKERS)])
        if not os.path.exists(log):
            self.report(Case("meson", "no test ran", "failed", output[-20:]))
            return
        with open(log) as f:
            for line in f:
                self.read_meson_test(json.loads(line))

    def read_meson_test(self, test):
        name = test["name"].split(" / ")[-1]
        out = (test.get("stdout") or "").splitlines()
        reader = TapReader(name, self.report)
        if not any(TAP_LINE.match(line) or TAP_PLAN.match(line) for line in out):  # a plain program: its exit code is its one case
            verdict = {"OK": "passed", "SKIP": "skipped", "EXPECTEDFAIL": "passed"}.get(test["result"], "failed")
            self.report(Case(name, name, verdict, (out + (test.get("stderr") or "").splitlines())[-30:]))
            return
        for line in out:
            reader.feed(line)
        reader.close(test["returncode"], (test.get("stderr") or "").splitlines()[-30:])


def prepare(whole):
    """What holds for every suite of this run, in the environment: the patience, the day."""
    if pace.VARIABLE in os.environ:
        print(f"deadlines times {pace.patience():.1f}, as {pace.VARIABLE} says")
    else:
        value, words = pace.measure()
        os.environ[pace.VARIABLE] = str(value)
        print(words)
    os.environ["CRONSCHED_DAY"] = str(sample.day())
    files, why = sample.changes()
    if files is not None:  # for the tests in C, which run all when they do not know
        os.environ["CRONSCHED_CHANGES"] = "\n".join(files)
    if whole:
        os.environ["CRONSCHED_WHOLE"] = "1"
    print("every table is run whole" if sample.whole() else
          f"long tables are run in parts: day {sample.day()}, {why}", flush=True)


def main():
    parser = argparse.ArgumentParser(description="Runs every test.")
    parser.add_argument("--build", required=True)
    parser.add_argument("--only", action="append", default=[], help="names of suites; 'unit' for meson's tests")
    parser.add_argument("--workers", type=int, default=WORKERS)
    parser.add_argument("--whole", action="store_true", help="nothing is left to other days")
    args = parser.parse_args()
    started = time.monotonic()
    prepare(args.whole)
    runner = Runner(os.path.abspath(args.build), args.only)
    tasks = queue.Queue()
    if runner.wanted("unit"):
        tasks.put(runner.run_meson)
    for path in suites():
        if runner.wanted(suite_name(path)):
            tasks.put(lambda path=path: runner.run_suite(path))

    def work():
        while True:
            try:
                task = tasks.get_nowait()
            except queue.Empty:
                return
            try:
                task()
            except KeyboardInterrupt:
                return
            except Exception as e:  # a broken runner must not look like a passed suite
                runner.report(Case("runner", repr(e), "failed"))

    def stop(signum, frame):
        runner.stop()

    signal.signal(signal.SIGINT, stop)
    signal.signal(signal.SIGTERM, stop)
    limit = threading.Timer(RUN_LIMIT_S, runner.stop)
    limit.daemon = True
    limit.start()
    threads = [threading.Thread(target=work) for _ in range(args.workers)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    try:
        runner.second_look()
    except KeyboardInterrupt:
        pass
    return summary(runner, time.monotonic() - started)


def summary(runner, seconds):
    by = {v: [c for c in runner.cases if c.verdict == v] for v in ("passed", "failed", "skipped")}
    if by["failed"]:
        print("\nFailed:")
    for case in by["failed"]:
        print(f"\n{case.suite}: {case.name}")
        for line in case.detail[-60:]:
            print(f"    {line}")
    unsteady = [c for c in runner.cases if c.unsteady]
    if unsteady:
        print("\nUnsteady (failed beside the others, passed alone):")
    for case in unsteady:
        print(f"\n{case.suite}: {case.name}")
        for line in case.detail[-12:]:
            print(f"    {line}")
    if by["skipped"]:
        print("\nSkipped:")
    for case in by["skipped"]:
        print(f"    {case.suite}: {case.name}: {case.detail[0] if case.detail else ''}")
    if runner.stopping:
        print(f"\nInterrupted: by a signal, or after {RUN_LIMIT_S / 60:.0f} minutes. What follows is not all.")
    print("\nseconds  computing")
    for name, (took, computing) in sorted(runner.took.items(), key=lambda x: -x[1][1]):
        print(f"{took:7.0f}  {computing:9.0f}  {name}")
    total = sum(computing for _, computing in runner.took.values())
    print(f"All suites took {seconds:.0f} s, and {total:.0f} s of computing, on {os.cpu_count()} processors.")
    print(f"{len(by['passed'])} passed, {len(by['failed'])} failed", flush=True)
    return 1 if by["failed"] or not by["passed"] or runner.stopping else 0


if __name__ == "__main__":
    sys.exit(main())
