#!/usr/bin/python3
"""The crash table: `serve` killed with SIGKILL at every step of the launch protocol, and restarted.

Each row names the points (jobs/base/fault.h) at which the process dies, one after the other ("wire:start" is a point outside
of it: a relay in front of the engine has just handed over that request): the second one strikes the
process that was started after the first crash, so the steps of a take-over are covered too. The run's starts are
counted by the attempt itself in a ledger. They are exactly one at every point. Only where an attempt's own supervisor is
killed the verdict may be `lost` or `failed`, with its evidence. Afterwards nothing may be left behind: no prepared
container or attempt without an owner.

A day runs a part of the rows, more of an engine's whose steps have changed (tests/lab/sample.py).
"""

import json
import math
import os
import re
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lab"))
import lab  # noqa: E402
import sample  # noqa: E402

# What happens to every run, in order: rows with one crash. "append" is before the journal gets the batch with this
# record, "acked" when it is durable; "submit" and "answer" are the engine's requests and answers.
LAUNCH = {
    "trigger": ["append:trigger", "acked:trigger"],
    "schedule": ["append:fire", "acked:fire"],
    "both": [
        "append:arm", "acked:arm", "submit:prepare", "answer:prepared", "append:committed", "acked:committed",
        "submit:release", "answer:started", "append:started", "acked:started", "submit:watch", "answer:ended",
        "append:ended", "acked:ended",
    ],
    "docker": ["docker.create", "wire:create", "docker.prepared", "docker.release", "wire:start", "docker.released",
               "docker.ended"],
    "process": [
        "process-prepare", "process-created", "process-spawned", "process-prepared", "process-answered:prepare",
        "process-release", "process-sent", "process-concluded", "process-answered:release", "process-watch",
        "process-watch-end", "process-watch-ended", "process-answered:watch",
    ],
}
# Batches are written by a thread of their own; the n-th transaction after the start of the process.
COMMITS = [f"{p}::{n}" for p in ("journal-before-commit", "journal-after-commit") for n in range(1, 7)]

# A crash with an attempt committed and not released, or released and unwatched; then one while the next leader
# settles it.
BEFORE_RELEASE, AFTER_RELEASE = "acked:committed", "answer:started"
SETTLE = {
    BEFORE_RELEASE: ["append:epoch", "acked:epoch", "submit:fence", "answer:never-ran", "append:never-ran",
                     "acked:never-ran"],
    AFTER_RELEASE: ["append:epoch", "acked:epoch", "submit:fence", "answer:started", "append:started",
                    "acked:started", "submit:watch", "answer:ended"],
}
SETTLE_ENGINE = {
    ("process", BEFORE_RELEASE): ["process-fence", "attempt-fenced", "process-fenced"],
    ("process", AFTER_RELEASE): ["process-fence", "process-fenced"],
    ("docker", BEFORE_RELEASE): ["wire:inspect", "docker.fence.seal", "wire:archive", "docker.fence.sealed",
                                 "docker.fence.verdict", "submit:discard", "wire:delete"],
    ("docker", AFTER_RELEASE): ["wire:inspect", "docker.fence.verdict"],
}
# In the attempt's own supervisor, which outlives the server; here the server goes on.
SUPERVISOR = ["supervise-begin", "supervise-ready-written", "supervise-ready", "supervise-go", "supervise-link",
              "supervise-linked", "supervise-started", "supervise-executed", "supervise-ended", "supervise-end-written",
              "supervise-end-synced"]
STOP = ["append:stopping", "acked:stopping", "submit:stop", "answer:done"]

# What decides about these steps, whichever the engine.
STEPS = ("jobs/scheduler/", "jobs/state/", "jobs/engine/", "leader/embedded/", "cronsched/server/", "tests/integration/crash_table")


def group_of(name):
    engine = name.split("_")[0]
    return sample.Group(f"rows of the {engine} engine", (*STEPS, f"cronsched/engines/{engine}/"), 8, 3)


class Row:
    def __init__(self, engine, how, points):
        self.engine, self.how, self.points = engine, how, points
        self.starts = self.verdict = self.seconds = None

    def name(self):
        return re.sub(r"\W+", "_", f"{self.engine}_{self.how}_{'_then_'.join(self.points)}")

    def held(self):
        """Its run is to be under way still when the second crash comes, however long the start took."""
        return len(self.points) > 1 and self.points[0] == AFTER_RELEASE

    def text(self):
        points = " then ".join(self.points)
        return f"{self.engine:8} {self.how:10} {points:52} {self.starts!s:>6}  {self.verdict!s:10} {self.seconds!s:>5} s"


def rows():
    for engine in ("process", "docker"):
        for how in ("trigger", "schedule"):
            for point in LAUNCH[how] + LAUNCH["both"] + LAUNCH[engine]:
                yield Row(engine, how, (point,))
        for point in COMMITS:
            yield Row(engine, "trigger", (point,))
        for first, seconds in SETTLE.items():
            for second in seconds + SETTLE_ENGINE[engine, first]:
                yield Row(engine, "trigger", (first, second))
        for point in STOP:
            yield Row(engine, "kill", (point,))
    for point in SUPERVISOR:
        yield Row("process", "supervisor", (point,))


ROWS = list(rows())


class CrashTable(lab.Suite):
    side_by_side = 2 + (os.cpu_count() or 1)  # each waits more than it computes

    @classmethod
    def sample(cls, names):
        return sample.chosen("crash table", names, group_of)

    @classmethod
    def setUpClass(cls):
        if not lab.has_faults():
            cls.why = "the program was built without crash points (-Dfaults=true)"
            return
        cls.why, cls.dockerd, cls.no_docker = None, None, lab.why_no_docker()
        if not cls.no_docker:
            cls.dockerd = lab.shared_docker()

    @classmethod
    def tearDownClass(cls):
        done = [r for r in ROWS if r.starts is not None]
        lab.say("engine   how        killed at" + " " * 45 + "starts  verdict     took")
        for row in done:
            lab.say(row.text())
        lost = sum(r.verdict == "lost" for r in done)
        lab.say(f"{len(done)} crash points: {sum(r.starts > 1 for r in done)} doubles, "
                f"{sum(r.starts == 1 for r in done)} started once, {lost} lost with evidence")

    def crash(self, row):
        if self.why:
            self.skipTest(self.why)
        if row.engine == "docker" and self.no_docker:
            self.skipTest(self.no_docker)
        began = time.monotonic()
        self.row = row
        self.ledger = lab.Ledger(self.folder)
        engines = {"process": {"type": "process"}}
        if row.engine == "docker":
            self.proxy = lab.Proxy(self.folder.join("relay.sock"), self.dockerd.socket)
            self.addCleanup(self.proxy.close)
            engines = {"docker": {"type": "docker", "endpoint": self.proxy.endpoint}}
        self.one = self.server(engines=engines)
        self.fire_time, self.clients = None, []
        self.addCleanup(self.end_clients)
        body = "sleep 30" if row.how == "kill" else "sleep 0.3"
        if row.held():
            body = f"while [ ! -e {self.folder_of_ledger()}/go ]; do sleep 0.05; done"
        self.definition = self.ledger.job(row.engine, body, stop_grace="1s")
        self.one.start()
        if row.how != "schedule":
            self.one.apply({"j": self.definition})
        self.one.kill()
        self.strike()
        run = self.finish()
        row.starts, row.verdict = self.ledger.starts(run["run"]), run["verdict"]
        row.seconds = f"{time.monotonic() - began:.1f}"
        self.check(run)
        self.one.stop()

    def folder_of_ledger(self):
        """As the attempt sees it."""
        return "/ledger" if self.row.engine == "docker" else self.ledger.folder

    def go(self):
        """Lets an attempt end that is held."""
        with open(os.path.join(self.ledger.folder, "go"), "w"):
            pass

    def strike(self):
        """Starts the process with each crash point in turn, has it do the work, and waits for its end."""
        for number, point in enumerate(self.row.points):
            if point.startswith("wire:"):
                self.one.launch()
                self.proxy.strike(point[5:], self.one.process.kill)
            else:
                self.one.launch(CRONSCHED_CRASH_AT=point)
            lab.wait_for(self.one.ready_or_dead, 60, lambda: f"ready or dead: {self.one.log_tail()}", every=0.02)
            if number == 0 and self.one.running():
                self.begin()
            if number > 0 and point == "answer:ended":
                self.go()
            if self.row.how == "supervisor":
                self.strike_supervisor()
                return
            struck = self.one.wait_crash(25)
            self.end_clients()
            self.assertTrue(struck, f"{point} was never passed; {self.one.log_tail(20)}")

    def strike_supervisor(self):
        """It strikes every supervisor that this server starts, as often as the scheduler tries. Nothing of it is seen
        from here, so: wait until the run is over, or clearly is not getting on, and start without crash points."""
        try:
            lab.wait_for(lambda: (self.one.cli.runs("j", "--state", "ended")), 4, "the end")
        except lab.LabError:
            pass
        self.one.stop()

    def begin(self):
        """The work. Its client asks in vain when the server dies, and then ends as well."""
        if self.row.how == "schedule":
            self.fire_time = int(time.time()) + 2 + math.ceil(lab.scaled(1))  # applied by then
            self.client("apply", self.folder.write("jobs.yaml", self.job_file()))
            return
        self.client("trigger", "j", "--key", "the-one")
        if self.row.how == "kill":
            lab.wait_for(lambda: not self.one.running() or self.ledger.starts(), 20, "the start")
            self.client("kill", next(iter(self.ledger.starts())))

    def client(self, *words):
        self.clients.append(self.one.cli.begin(*words))

    def end_clients(self):
        for process in self.clients:
            process.kill()
            process.wait()
        self.clients.clear()

    def job_file(self):
        return json.dumps({"jobs": {"j": {**self.definition, "schedule": f"@at {lab.instant(self.fire_time)}"}}})

    def finish(self):
        """The last start, without crash points; asks for the work again as a client does that got no answer."""
        self.end_clients()
        self.go()
        self.one.start()
        if self.row.how == "schedule":
            self.one.cli.check("apply", self.folder.write("jobs.yaml", self.job_file()))
            return self.one.cli.wait_end(lab.run_id("j", self.fire_time), 60)
        run = self.one.cli.trigger("j", "--key", "the-one")
        if self.row.how == "kill":
            lab.wait_for(lambda: self.ledger.starts(run), 20, "the start")
            self.one.cli.call("kill", run)
        return self.one.cli.wait_end(run, 60)

    def check(self, run):
        text = f"{self.row.text()}\n{run}"
        self.assertNone(lab.Checker(self.ledger).strict().doubles())
        if self.row.how == "supervisor" and run["verdict"] == "lost":
            self.assertRegex(self.one.cli.check("explain", "j", run["fire_time"]).out, r"(?i)lost|unknown", text)
        elif self.row.how == "supervisor" and run["verdict"] == "failed":
            self.assertEqual((0, 126), (self.row.starts, run["exit_code"]), text)  # provably never executed
        else:
            self.assertEqual("killed" if self.row.how == "kill" else "succeeded", run["verdict"], text)
            self.assertEqual(1, self.row.starts, text)
        others = [r["run"] for r in self.one.cli.runs("j") if r["run"] != run["run"]]
        self.assertEqual([], others)
        lab.wait_for(lambda: not self.left_behind(run), 30, lambda: f"nothing left behind, not {self.left_behind(run)}",
                     every=0.3)

    def left_behind(self, run):
        """Containers that never ran, and processes, that still stand for this run."""
        if self.row.engine == "docker":
            return [(c["Names"], c["State"]) for c in self.dockerd.api.containers(cronsched__run=run["run"])
                    if c["State"] not in ("exited",)]
        return [p for p in lab.processes_of(self.folder.path)
                if p != self.one.process.pid and f"{self.one.data}".encode() in open(f"/proc/{p}/cmdline", "rb").read()]


def add(row):
    setattr(CrashTable, f"test_{row.name()}", lambda self: self.crash(row))


for _row in ROWS:
    add(_row)


class EngineCrash(lab.Suite):
    """dockerd itself killed with SIGKILL. Each test has an engine of its own."""

    def setUp(self):
        super().setUp()
        why = lab.why_no_docker()
        if why:
            self.skipTest(why)
        self.ledger = lab.Ledger(self.folder)

    def begin(self, live_restore=False):
        self.dockerd = lab.Dockerd(self.folder, live_restore=live_restore)
        self.addCleanup(self.dockerd.close)
        server = self.server(engines={"docker": lab.docker_engine(self.dockerd)})
        server.start()
        return server

    def running(self, server):
        """A run of which everybody knows that it runs."""
        run = server.cli.trigger("j")
        lab.wait_for(lambda: self.ledger.starts(run) and server.cli.run(run)["state"] == "running", 30, "the start")
        return run

    def test_dockerd_killed_during_start(self):
        """At eight moments from the start request on. A container whose process ran although the engine says
        `created` must not run again; the start witness tells."""
        server = self.begin(live_restore=True)
        server.apply({"j": self.ledger.docker_job("sleep 0.2", concurrency="allow")})
        outcome = {}
        for i in range(8):
            before = len(self.ledger.starts())
            run = server.cli.trigger("j")
            if i % 2:
                lab.wait_for(lambda: len(self.ledger.starts()) > before, 10, "the attempt's first line", every=0.001)
            else:
                lab.quiet_for(0.02 * i)
            self.dockerd.kill()
            self.dockerd.start()
            end = server.cli.wait_end(run, 90)
            starts = self.ledger.starts(run)
            self.assertLessEqual(starts, 1)
            if end["verdict"] == "succeeded":
                self.assertEqual(1, starts)
            else:
                self.assertIn(end["verdict"], ("lost", "failed"), end)
            outcome[(end["verdict"], starts)] = outcome.get((end["verdict"], starts), 0) + 1
        lab.say("dockerd killed during start: " + ", ".join(
            f"{n} x {verdict} after {starts} starts" for (verdict, starts), n in sorted(outcome.items())))
        self.assertNone(lab.Checker(self.ledger).strict().problems)
        server.stop()

    def test_dockerd_killed_during_a_run(self):
        server = self.begin()
        server.apply({"j": self.ledger.docker_job("sleep 5")})
        run = self.running(server)
        self.dockerd.kill()
        lab.quiet_for(1)
        self.dockerd.start()
        end = server.cli.wait_end(run, 90)
        lab.say(f"dockerd killed during a run, without live-restore: {end['verdict']}, {self.ledger.starts(run)} start")
        # lost: it ended by itself in the second in which the engine started
        self.assertIn(end["verdict"], ("failed", "succeeded", "lost"))
        self.assertEqual(1, self.ledger.starts(run))
        server.stop()

    def test_dockerd_killed_during_a_run_with_live_restore(self):
        server = self.begin(live_restore=True)
        server.apply({"j": self.ledger.docker_job("sleep 6; exit 4")})
        run = self.running(server)
        self.dockerd.kill()
        self.dockerd.start()
        end = server.cli.wait_end(run, 90)
        self.assertEqual(("failed", 4, 1), (end["verdict"], end["exit_code"], self.ledger.starts(run)), end)
        server.stop()

    def test_power_lost_during_runs(self):
        """The engine makes up the end of what it does not find again: 255, or 0 (Docker 24.0). Nobody knows how it
        ended, whoever was there."""
        server = self.begin()
        server.apply({"j": self.ledger.docker_job("sleep 300", concurrency="allow"),
                      "again": self.ledger.docker_job("sleep 300", on_lost="rerun", retries={"max": 1, "delay": "1s"})})
        run = self.running(server)
        again = server.cli.trigger("again")
        lab.wait_for(lambda: server.cli.run(again)["state"] == "running", 30, "the start")
        containers = [server.cli.run(r)["attempts"][0]["id"] for r in (run, again)]
        self.dockerd.kill()
        for container in containers:
            self.dockerd.kill_shim(container)
        self.dockerd.start()
        end = server.cli.wait_end(run, 90)
        self.assertEqual(("lost", None, 1), (end["verdict"], end["exit_code"], self.ledger.starts(run)), end)
        self.assertIn("it has not seen", end["text"])
        self.assertIn("exit code 255", end["text"])
        lab.wait_for(lambda: self.ledger.starts(again) == 2, 60, "the attempt after the lost one")
        self.power_lost_while_nobody_watched(server)

    def power_lost_while_nobody_watched(self, server):
        runs = [self.running(server), self.running(server)]
        containers = [server.cli.run(run)["attempts"][0]["id"] for run in runs]
        server.kill()
        self.dockerd.kill()
        for container in containers:
            self.dockerd.kill_shim(container)
        self.dockerd.start()
        self.dockerd.kill()
        self.dockerd.make_up_zero(containers[1])
        self.dockerd.start()
        server.start()
        for run, code in zip(runs, (255, 0)):
            end = server.cli.wait_end(run, 90)
            self.assertEqual(("lost", None, 1), (end["verdict"], end["exit_code"], self.ledger.starts(run)), end)
            self.assertIn(f"exit code {code}", end["text"])
        server.stop()

    def test_both_killed_during_a_run(self):
        server = self.begin(live_restore=True)
        server.apply({"j": self.ledger.docker_job("sleep 3")})
        run = self.running(server)
        self.dockerd.kill()
        server.kill()
        server.start()
        lab.quiet_for(1)
        self.dockerd.start()
        self.assertEqual("succeeded", server.cli.wait_end(run, 90)["verdict"])
        self.assertEqual(1, self.ledger.starts(run))
        server.stop()


if __name__ == "__main__":
    lab.main()
