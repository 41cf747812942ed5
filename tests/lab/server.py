"""The program under test, from outside: `cronsched serve` and its command line."""

import json
import os
import re
import signal
import subprocess
import time

from pace import scaled
from place import LabError, die_with_parent, kill_process, wait_for

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SANITIZER = re.compile(r"(ERROR: \w*Sanitizer|runtime error:|Assertion .* failed|WARNING: \w*Sanitizer).*")
READY_S = 60
END_STATES = ("ended", "skipped")


def binary(name="cronsched"):
    """The program that is tested: of the build folder that contrib/test names."""
    build = os.path.abspath(os.environ.get("CRONSCHED_BUILD", os.path.join(TOP, "build-test")))
    path = os.path.join(build, "cronsched", name)
    if not os.access(path, os.X_OK):
        raise LabError(f"{path} is not there: build first, or set CRONSCHED_BUILD")
    return path


def has_faults():
    """True when the program was built with crash points (-Dfaults=true)."""
    with open(binary(), "rb") as f:
        return b"CRONSCHED_CRASH_AT" in f.read()


class Answer:
    """What a verb printed, and how it ended."""

    def __init__(self, verb, code, out, err):
        self.verb, self.code, self.out, self.err = verb, code, out, err

    def json(self):
        try:
            return json.loads(self.out)
        except ValueError as e:
            raise LabError(f"{self}: not JSON: {e}") from e

    def __str__(self):
        return f"cronsched {self.verb}: exit {self.code}: {self.out.strip()[:2000]} {self.err.strip()[:2000]}"


class Cli:
    """Runs verbs against one server. call() never raises for an exit code, check() does."""

    def __init__(self, server_url, environment=None):
        self.environment = {**os.environ, **(environment or {}), "CRONSCHED_SERVER": server_url}

    def call(self, *words, timeout=60, stdin=None):
        words = [str(w) for w in words]
        try:
            done = subprocess.run([binary(), *words], env=self.environment, capture_output=True, text=True,
                                  errors="replace", timeout=scaled(timeout), check=False, input=stdin)
        except subprocess.TimeoutExpired as e:
            raise LabError(f"cronsched {' '.join(words)}: no end after {scaled(timeout):g} s") from e
        answer = Answer(" ".join(words), done.returncode, done.stdout, done.stderr)
        found = SANITIZER.search(done.stderr)
        if found or done.returncode < 0:
            raise LabError(f"the command line crashed: {answer}")
        return answer

    def begin(self, *words):
        """Starts a verb and does not wait for it: for calls whose server is about to die (a client goes on asking for a
        while). The caller ends the process."""
        return subprocess.Popen([binary(), *words], env=self.environment, stdin=subprocess.DEVNULL,
                                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, preexec_fn=die_with_parent)

    def check(self, *words, **kwargs):
        answer = self.call(*words, **kwargs)
        if answer.code != 0:
            raise LabError(str(answer))
        return answer

    def json(self, *words, **kwargs):
        return self.check(*words, "-o", "json", **kwargs).json()

    def cluster(self):
        """What the replica says of the cluster, also when it takes part in nothing (5)."""
        answer = self.call("cluster", "-o", "json")
        if answer.code not in (0, 5) or not answer.out:
            raise LabError(str(answer))
        return answer.json()

    # The few that every test needs, each in one word.

    def trigger(self, job, *options):
        return self.json("trigger", job, *options)["run"]

    def run(self, run_id):
        """The run, or None as long as nobody knows it."""
        answer = self.call("run", run_id, "-o", "json")
        if answer.code == 3:
            return None
        if answer.code != 0:
            raise LabError(str(answer))
        return answer.json()

    def runs(self, *options):
        return self.json("runs", *options)

    def wait_end(self, run_id, seconds=60):
        """The run once it has ended."""
        last = {}

        def ended():
            found = self.run(run_id)
            last["run"] = found
            return found if found and found["state"] in END_STATES else None

        return wait_for(ended, seconds, lambda: f"{run_id} to end; it is {last.get('run')}", every=0.1)

    def audit(self, since, until=None):
        """(exit code, answer) of an audit from `since`, both RFC 3339."""
        words = ["audit", "--since", since] + (["--until", until] if until else [])
        return self.call(*words, "-o", "json")


class Server:
    """One replica below a folder: a configuration, a data folder, a log.

    start() waits until it is ready; kill() is a crash, stop() a clean end that must leave with exit code 0. Whatever
    a sanitizer says in its log is an error as soon as the process has ended.
    """

    def __init__(self, folder, name="server", engines=None, default_engine=None, config=None, data=None,
                 environment=None, wrapper=()):
        self.folder, self.name = folder, name
        self.data = data or folder.make(name)
        self.socket = os.path.join(self.data, "cronsched.sock")
        self.config = {"cluster": "lab", "data_dir": self.data, "listen": [f"unix:{self.socket}"],
                       "engines": engines or {"process": {"type": "process"}}}
        self.config["default_engine"] = default_engine or next(iter(self.config["engines"]))
        self.config.update(config or {})
        self.environment = {"CRONSCHED_LAB": folder.path, "UBSAN_OPTIONS": "print_stacktrace=1:halt_on_error=1",
                            "ASAN_OPTIONS": "abort_on_error=1:detect_leaks=1", **(environment or {})}
        self.wrapper = list(wrapper)
        self.program = binary()
        self.cli = Cli(f"unix:{self.socket}")
        self.process = None
        self.starts = 0
        self.log_seen = 0

    @property
    def log_path(self):
        return self.folder.join(f"{self.name}.log")

    def write_config(self):
        # JSON is YAML
        return self.folder.write(f"{self.name}.yaml", json.dumps(self.config, indent=1))

    def launch(self, **environment):
        """Starts the process and does not wait. Words for its environment: CRONSCHED_CRASH_AT="..."."""
        if self.running():
            raise LabError(f"{self.name} runs already")
        self.check_log()
        with open(self.log_path, "ab") as log:
            log.write(f"--- start {self.starts + 1} {environment}\n".encode())
            log.flush()
            self.process = subprocess.Popen(
                [*self.wrapper, self.program, "serve", "--config", self.write_config()], stdin=subprocess.DEVNULL,
                stdout=log, stderr=log, env={**os.environ, **self.environment, **environment}, cwd=self.folder.path,
                preexec_fn=die_with_parent)
        self.starts += 1

    def start(self, seconds=READY_S, **environment):
        self.launch(**environment)
        wait_for(self.ready_or_dead, seconds, lambda: f"{self.name} to be ready: {self.log_tail()}", every=0.02)
        if not self.running():
            raise LabError(f"{self.name} ended with {self.process.returncode}: {self.log_tail()}")
        return self

    def ready_or_dead(self):
        return not self.running() or self.ready()

    def ready(self):
        from docker import DockerApi  # any HTTP over a unix socket
        try:
            return DockerApi(self.socket).call("GET", "/readyz", timeout=5)[0] == 200
        except OSError:
            return False

    def http(self, method, path, body=None, timeout=20):
        """(status, answer) of the API, over the unix socket."""
        from docker import DockerApi
        return DockerApi(self.socket).call(method, path, body, timeout=scaled(timeout))

    def metric(self, name):
        """Sum of a Prometheus metric over its labels; None when there is none of that name."""
        status, text = self.http("GET", "/metrics")
        if status != 200:
            raise LabError(f"/metrics answers {status}")
        values = re.findall(rf"^{re.escape(name)}(?:{{[^}}]*}})? (\S+)$", text.decode(), re.M)
        return sum(float(v) for v in values) if values else None

    def running(self):
        return self.process is not None and self.process.poll() is None

    def wait_crash(self, seconds=60):
        """Waits until a crash point has struck; False when none did within the time."""
        try:
            code = self.process.wait(scaled(seconds))
        except subprocess.TimeoutExpired:
            return False
        if code != -signal.SIGKILL:
            raise LabError(f"{self.name} ended with {code}, not at its crash point: {self.log_tail()}")
        self.check_log()
        return True

    def kill(self):
        if self.process is not None:
            self.process.kill()
            self.process.wait(scaled(20))
            self.check_log()

    def stop(self, seconds=60):
        """SIGTERM, and exit code 0."""
        if self.process is None:
            return
        self.process.terminate()
        try:
            code = self.process.wait(scaled(seconds))
        except subprocess.TimeoutExpired as e:
            self.process.kill()
            self.process.wait(scaled(20))
            raise LabError(f"{self.name} did not end on SIGTERM: {self.log_tail()}") from e
        self.check_log()
        if code != 0:
            raise LabError(f"{self.name} ended with {code}: {self.log_tail()}")

    def log(self):
        return self.folder.read(f"{self.name}.log")

    def led_at(self):
        """When it last began to lead, by its own log; seconds since the epoch."""
        told = [line for line in self.log().splitlines() if '"event":"leading"' in line]
        if not told:
            raise LabError(f"{self.name} never led: {self.log_tail()}")
        return parse_instant(json.loads(told[-1])["time"])

    def log_tail(self, lines=12):
        """The last lines, or what a sanitizer said."""
        text = self.log()
        found = SANITIZER.search(text)
        if found:
            return text[found.start():found.start() + 5000]
        return "\n".join(text.splitlines()[-lines:])

    def check_log(self):
        text = self.log()
        found = SANITIZER.search(text, self.log_seen)
        self.log_seen = len(text)
        if found:
            raise LabError(f"{self.name}: {text[found.start():found.start() + 6000]}")

    def close(self):
        if self.running():
            kill_process(self.process.pid)
            self.process.wait(scaled(20))

    def apply(self, jobs, *options, name="jobs.yaml"):
        """Applies jobs given as a dictionary NAME: keys of a job file."""
        path = self.folder.write(name, json.dumps({"jobs": jobs}, indent=1))
        return self.cli.check("apply", path, *options)


def instant(t, exact=False):
    """RFC 3339 of seconds since the epoch."""
    text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(t))
    return f"{text}.{int(t * 1000) % 1000:03d}Z" if exact else text + "Z"


def parse_instant(text):
    """Seconds since the epoch of an RFC 3339 text in UTC, with or without a fraction."""
    found = re.fullmatch(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(\.\d+)?Z", text)
    if not found:
        raise LabError(f"{text!r} is not an instant in UTC")
    import calendar
    whole = calendar.timegm(time.strptime(found.group(1), "%Y-%m-%dT%H:%M:%S"))
    return whole + float(found.group(2) or 0)


def run_id(job, t):
    """The id of a scheduled run, by its form alone: JOB@20261122T030000Z."""
    return f"{job}@{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime(t))}"
