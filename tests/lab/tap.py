"""unittest with TAP as its output, and the base class of the suites.

Lines that begin with "## " are results that a person wants to see (a table, a figure); tests/run.py passes them on.
"""

import argparse
import concurrent.futures
import os
import signal
import sys
import threading
import time
import traceback
import unittest

import docker
import pace
from docker import Dockerd
from kubernetes import Kubernetes
from place import Folder, LabError
from server import Server, has_faults
from swarm import Swarm

_print_lock = threading.Lock()
_ending = threading.Event()  # SIGTERM has come; unittest takes the exception for a failed test
_shared = []  # what the whole suite shares, closed at its end


def say(text):
    with _print_lock:
        print("\n".join(f"## {line}" for line in str(text).splitlines()), flush=True)


class Suite(unittest.TestCase):
    """A test with a folder of its own; what it makes by the functions here is closed after it, failed or not."""

    maxDiff = None
    side_by_side = 1

    def setUp(self):
        self.servers, self.logs = [], []
        self.folder = Folder(self.id().split(".")[-1][:40])
        self.addCleanup(self.close_folder)

    def close_folder(self):
        for server in self.servers:
            server.close()
            self.logs += [f"the end of {server.name}.log:", *server.log_tail(30).splitlines()]
        self.folder.close()

    def server(self, **kwargs):
        server = Server(self.folder, **kwargs)
        self.servers.append(server)
        return server

    def need_faults(self):
        if not has_faults():
            self.skipTest("the program was built without crash points (-Dfaults=true)")

    def promised(self, name, took_s, server, ceiling_s):
        """Fails unless the program kept its promise (pace.PROMISES); one call to that server is the peer."""
        say(pace.promised(name, took_s, lambda: server.cli.check("jobs"), ceiling_s))

    def assertNone(self, problems):
        """No problem in the list; all of them are shown otherwise."""
        problems = list(problems)
        if problems:
            self.fail("\n".join([f"{len(problems)} problems:", *problems[:50]]))


def shared_docker():
    """The engine that all tests of this suite share; skips where none can be started. Call it from setUpModule or
    setUpClass, which run on the main thread: an engine ends with the thread that started it."""
    for thing in _shared:
        if isinstance(thing, Dockerd):
            return thing
    why = docker.why_no_docker()
    if why:
        raise unittest.SkipTest(why)
    folder = Folder("docker")
    _shared.append(folder)
    engine = Dockerd(folder)
    _shared.append(engine)
    return engine


def shared_swarm():
    """Likewise: a Docker Swarm of three managers and a worker."""
    for thing in _shared:
        if isinstance(thing, Swarm):
            return thing
    why = docker.why_no_docker()
    if why:
        raise unittest.SkipTest(why)
    folder = Folder("s")  # its sockets need a short path
    _shared.append(folder)
    _shared.append(Swarm(folder, heartbeat_s=1))
    return _shared[-1]


def shared_kubernetes():
    """Likewise: a real Kubernetes of one node, where its programs are given."""
    for thing in _shared:
        if isinstance(thing, Kubernetes):
            return thing
    tools = os.environ.get("CRONSCHED_KUBERNETES")
    if not tools:
        raise unittest.SkipTest("CRONSCHED_KUBERNETES names no programs of a Kubernetes (tests/lab/kubernetes.py)")
    folder = Folder("k")  # its sockets need a short path
    _shared.append(folder)
    _shared.append(Kubernetes(folder, tools))
    return _shared[-1]


def docker_engine(dockerd, **keys):
    """The entry for `engines` in a server's configuration."""
    return {"type": "docker", "endpoint": dockerd.endpoint, **keys}


class Result(unittest.TestResult):
    """Of one test. Keeps the first thing that went wrong."""

    def __init__(self):
        super().__init__()
        self.verdict, self.text = "passed", ""

    def fail_with(self, err):
        """The text, and the lines of the test that led there, without those of unittest."""
        self.verdict = "failed"
        for frame in traceback.extract_tb(err[2]):
            if "/unittest/" not in frame.filename and frame.filename != __file__:
                self.text += f"{os.path.basename(frame.filename)}:{frame.lineno}: {frame.line}\n"
        self.text += f"{err[0].__name__}: {err[1]}\n"

    def addError(self, test, err):
        self.fail_with(err)

    def addFailure(self, test, err):
        self.fail_with(err)

    def addSubTest(self, test, subtest, err):
        if err is not None:
            self.text += f"{subtest.id()}\n"
            self.fail_with(err)

    def addSkip(self, test, reason):
        if self.verdict == "passed":
            self.verdict, self.text = "skipped", reason


def case_name(test):
    name = test.id().split(".")[-1]
    return name[5:] if name.startswith("test_") else name


def run_one(test, number, results):
    if _ending.is_set():
        raise SystemExit(128 + signal.SIGTERM)
    started = time.monotonic()
    result = Result()
    test.run(result)
    name = case_name(test)
    seconds = f"({time.monotonic() - started:.1f} s)"
    with _print_lock:
        results.append(result.verdict)
        if result.verdict == "skipped":
            print(f"ok {number} - {name} # SKIP {result.text}", flush=True)
            return
        print(f"{'ok' if result.verdict == 'passed' else 'not ok'} {number} - {name} {seconds}", flush=True)
        if result.verdict == "failed":
            for line in result.text.splitlines() + getattr(test, "logs", []):
                print(f"# {line}")
            sys.stdout.flush()


def flatten(suite):
    for thing in suite:
        if isinstance(thing, unittest.TestSuite):
            yield from flatten(thing)
        else:
            yield thing


def run_class(cls, tests, first_number, results):
    """Tests of one class: side by side when the class says so (`side_by_side = N`)."""
    try:
        cls.setUpClass()
    except unittest.SkipTest as e:
        for number, test in enumerate(tests, first_number):
            print(f"ok {number} - {case_name(test)} # SKIP {e}", flush=True)
            results.append("skipped")
        return
    try:
        if cls.side_by_side == 1:
            for number, test in enumerate(tests, first_number):
                run_one(test, number, results)
            return
        with concurrent.futures.ThreadPoolExecutor(cls.side_by_side) as pool:
            try:
                list(pool.map(lambda p: run_one(p[1], p[0], results), enumerate(tests, first_number)))
            except SystemExit:
                pool.shutdown(cancel_futures=True)
                raise
    finally:
        cls.tearDownClass()


def terminated(signum, frame):
    _ending.set()
    raise SystemExit(128 + signum)


def sampled(cls, tests):
    """The part of a long table that is run today; all that has no `sample`. It says what it leaves out."""
    if not hasattr(cls, "sample"):
        return tests
    names, words = cls.sample([case_name(t) for t in tests])
    say(words)
    wanted = set(names)
    return [t for t in tests if case_name(t) in wanted]


def main():
    """Runs the test cases of the program's own file. Options: -k WORD (only cases whose name has it), --whole (also
    those of a long table that are not of today's part; with -k that goes without saying)."""
    parser = argparse.ArgumentParser()
    parser.add_argument("-k", action="append", default=[], help="only cases whose name contains this")
    parser.add_argument("--whole", action="store_true", help="the whole of each table")
    args = parser.parse_args()
    signal.signal(signal.SIGTERM, terminated)
    cases = [t for t in flatten(unittest.defaultTestLoader.loadTestsFromModule(sys.modules["__main__"]))
             if not args.k or any(k in t.id() for k in args.k)]
    pace.patience(say=True)
    results = []
    by_class = {}
    for test in cases:
        by_class.setdefault(type(test), []).append(test)
    if not args.whole and not args.k:
        by_class = {cls: sampled(cls, tests) for cls, tests in by_class.items()}
    try:
        print(f"1..{sum(map(len, by_class.values()))}", flush=True)
        number = 1
        for cls, tests in by_class.items():
            run_class(cls, tests, number, results)
            number += len(tests)
    finally:
        for thing in reversed(_shared):
            try:
                thing.close()
            except (OSError, LabError) as e:
                print(f"# closing {thing}: {e}", flush=True)
    sys.exit(1 if "failed" in results or not cases else 0)

