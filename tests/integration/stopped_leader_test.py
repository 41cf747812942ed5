#!/usr/bin/python3
"""The crash table with two replicas: the leader is stopped (SIGSTOP) at every step of the launch protocol, the other
one takes over and settles the run; then the old leader wakes, and goes on with the very next instruction.

The run's starts are counted by the attempt itself. They are exactly one at every point, and the run has one verdict at
both replicas. Attempts of the process engine belong to the stopped leader's machine, so their run is settled only once it
is awake again; a container is settled while it sleeps. A day runs a part of the rows (tests/lab/sample.py).
"""

import os
import re
import signal
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lab"))
import lab  # noqa: E402
import sample  # noqa: E402
from cluster_test import Cluster  # noqa: E402
from crash_table_test import LAUNCH  # noqa: E402
from zookeeper import ZooKeeper, why_no_zookeeper  # noqa: E402

SESSION_S = 2


class Row:
    def __init__(self, engine, point):
        self.engine, self.point = engine, point
        self.starts = self.verdict = self.seconds = None

    def name(self):
        return re.sub(r"\W+", "_", f"{self.engine}_{self.point}")

    def text(self):
        return f"{self.engine:8} {self.point:28} {self.starts!s:>6}  {self.verdict!s:10} {self.seconds!s:>5} s"


STEPS = ("leader/", "jobs/scheduler/", "jobs/state/", "jobs/engine/", "cronsched/cluster/", "cronsched/server/",
         "tests/integration/stopped_leader")


def group_of(name):
    engine = name.split("_")[0]
    return sample.Group(f"rows of the {engine} engine", (*STEPS, f"cronsched/engines/{engine}/"), 8, 4)


ROWS = [Row(engine, point) for engine in ("docker", "process")
        for point in LAUNCH["trigger"] + LAUNCH["both"] + LAUNCH[engine]]


def stat(pid):
    """What follows the name in /proc/PID/stat: state, parent, ..."""
    try:
        with open(f"/proc/{pid}/stat") as f:
            return f.read().rsplit(")", 1)[1].split()
    except OSError:
        return ["", "0"]


def stopped(pid):
    return stat(pid)[0] == "T"


def parent(pid):
    return int(stat(pid)[1])


def is_supervisor(pid):
    """Of an attempt; or the one that a server keeps to make them, its child."""
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as f:
            return b"__supervise" in f.read()
    except OSError:
        return False


class StoppedLeader(lab.Suite):
    side_by_side = 2 + (os.cpu_count() or 1)  # each waits for a session to end

    @classmethod
    def sample(cls, names):
        return sample.chosen("stopped leader", names, group_of)

    @classmethod
    def setUpClass(cls):
        cls.why = why_no_zookeeper() or (None if lab.has_faults() else
                                         "the program was built without crash points (-Dfaults=true)")
        if cls.why:
            return
        cls.dockerd = None if lab.why_no_docker() else lab.shared_docker()
        cls.zk_folder = lab.Folder("zookeeper")
        cls.zk = ZooKeeper(cls.zk_folder).start()
        cls.zk.wait_up()

    @classmethod
    def tearDownClass(cls):
        if cls.why:
            return
        cls.zk.close()
        cls.zk_folder.close()
        done = [r for r in ROWS if r.starts is not None]
        lab.say("engine   leader stopped at            starts  verdict     took")
        for row in done:
            lab.say(row.text())
        lab.say(f"{len(done)} points: {sum(r.starts > 1 for r in done)} doubles, "
                f"{sum(r.starts == 1 for r in done)} started once, {sum(r.verdict == 'lost' for r in done)} lost")

    def strike(self, row):
        """The leader stops at the point, on its way with the run."""
        if row.point.startswith("wire:"):
            self.proxy.strike(row.point[5:], lambda: os.kill(self.first.process.pid, signal.SIGSTOP))
        self.client = self.first.cli.begin("trigger", "j", "--key", "the-one")
        try:
            lab.wait_for(lambda: stopped(self.first.process.pid), 25,
                         lambda: f"{row.point} to be passed: {self.first.log_tail(20)}", every=0.02)
        finally:
            self.client.kill()
            self.client.wait()

    def leads(self, server):
        return server.http("GET", "/readyz")[1].get("role") == "leader"

    def wake(self):
        os.kill(self.first.process.pid, signal.SIGCONT)
        lab.wait_for(lambda: self.first.http("GET", "/readyz")[1].get("role") == "standby", 30,
                     lambda: f"the old leader to follow: {self.first.log_tail(10)}")

    def stop_leader(self, row):
        if self.why:
            self.skipTest(self.why)
        if row.engine == "docker" and not self.dockerd:
            self.skipTest(lab.why_no_docker())
        began = time.monotonic()
        ledger = lab.Ledger(self.folder)
        engines = {"process": {"type": "process"}}
        if row.engine == "docker":
            engines = {"docker": lab.docker_engine(self.dockerd)}
        c = Cluster(self, name=f"c{ROWS.index(row)}", engines=engines, zookeeper=self.zk, session_s=SESSION_S,
                    start=False)
        self.first, second = c.servers
        if row.engine == "docker":
            self.proxy = lab.Proxy(self.folder.join("relay.sock"), self.dockerd.socket)
            self.addCleanup(self.proxy.close)
            self.first.config["engines"] = {"docker": {"type": "docker", "endpoint": self.proxy.endpoint}}
        self.first.start(**({} if row.point.startswith("wire:") else {"CRONSCHED_STOP_AT": row.point}))
        lab.wait_for(lambda: self.leads(self.first), 30, "the first to lead")
        second.start()
        self.first.apply({"j": ledger.job(row.engine, "sleep 0.3")})
        self.strike(row)
        lab.wait_for(lambda: self.leads(second), 30, lambda: f"the second to lead: {second.log_tail(10)}")
        if row.engine == "process":
            self.wake()
        run = second.cli.trigger("j", "--key", "the-one")
        end = second.cli.wait_end(run, 60)
        if row.engine == "docker":
            self.wake()
        lab.wait_for(lambda: (self.first.cli.run(run) or {}).get("verdict") == end["verdict"], 30,
                     "the old leader to know the verdict")
        lab.wait_for(lambda: not self.left_behind(row, run), 60, lambda: f"nothing left behind: {self.left_behind(row, run)}")
        row.starts, row.verdict = ledger.starts(run), end["verdict"]
        row.seconds = f"{time.monotonic() - began:.1f}"
        self.assertNone(lab.Checker(ledger).strict().problems)
        self.assertEqual((1, "succeeded"), (row.starts, row.verdict), f"{row.text()}\n{end}")
        self.assertEqual([run], [r["run"] for r in second.cli.runs("j")])

    def left_behind(self, row, run):
        """What was prepared for this run and is of no use any more."""
        if row.engine == "docker":
            return [(x["Names"], x["State"]) for x in self.dockerd.api.containers(cronsched__run=run)
                    if x["State"] not in ("exited",)]
        serving = [s.process.pid for s in self.servers]
        return [p for p in lab.processes_of(self.folder.path) if is_supervisor(p) and parent(p) not in serving]


def add(row):
    setattr(StoppedLeader, f"test_{row.name()}", lambda self: self.stop_leader(row))


for _row in ROWS:
    add(_row)


if __name__ == "__main__":
    lab.main()
