#!/usr/bin/python3
"""Replicas of one cluster on a real ZooKeeper: who leads, who follows, what is lost when one of them goes: nothing."""

import os
import re
import shutil
import signal
import sqlite3
import sys
import threading
import time
import uuid

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lab"))
import lab  # noqa: E402
from described import Description  # noqa: E402
from zookeeper import ZooKeeper, free_ports, why_no_zookeeper  # noqa: E402

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SESSION_S = 4


class Cluster:
    """A ZooKeeper of its own and some replicas; of the process engine, unless told otherwise."""

    def __init__(self, suite, replicas=2, name="c", engines=None, environments=(), program=None, zookeeper=None,
                 session_s=SESSION_S, start=True, config=None, configs=()):
        """environments: of the first replicas' processes, in order; program: instead of the one that is tested;
        zookeeper: one that is shared, instead of its own; start: the first replica leads, the others run; config: more
        of it, for all; configs: for the first replicas, in order."""
        self.config, self.configs = config or {}, configs
        self.suite, self.name, self.engines, self.environments = suite, name, engines, environments
        self.program, self.zk, self.session_s, self.id = program, zookeeper, session_s, str(uuid.uuid4())
        if not self.zk:
            self.zk = ZooKeeper(suite.folder.make(f"zk-{name}")).start()
            suite.addCleanup(self.zk.close)
            self.zk.wait_up()
        self.ports = free_ports(replicas)
        self.servers = [self.make(i) for i in range(replicas)]
        if start:
            self.servers[0].start()
            self.wait_leader(self.servers[0])
            for server in self.servers[1:]:
                server.start()

    def make(self, i, name=None):
        environment = self.environments[i] if i < len(self.environments) else None
        server = self.suite.server(name=f"{name or self.name}{i}", engines=self.engines, environment=environment, config={
            "cluster": self.name, "replica": f"r{i}", "zookeeper": self.zk.connect,
            "cluster_id": self.id, "init": i == 0,
            "session_timeout": f"{self.session_s}s", "insecure": True, **self.config,
            **(self.configs[i] if i < len(self.configs) else {})})
        server.program = self.program or server.program
        server.config["listen"].append(f"127.0.0.1:{self.ports[i]}")
        server.cli.environment.pop("LD_PRELOAD", None)  # a clock that is faked is the server's alone
        return server

    def view(self, server):
        return server.cli.cluster()

    def leader(self):
        """The replica that leads, as one that is up says."""
        for server in self.servers:
            if server.running() and os.path.exists(server.socket):
                leader = self.view(server)["leader"]
                found = [s for s in self.servers if leader and s.config["replica"] == leader["id"]]
                return found[0] if found and found[0].running() else None
        return None

    def wait_fit(self, leader):
        """Until another replica could lead: each says so with its next heartbeat."""
        lab.wait_for(lambda: any(r.get("fit") for r in leader.cli.cluster()["replicas"] if r["role"] != "leader"),
                     20, "a replica that is fit to lead")

    def wait_leader(self, server=None, seconds=30):
        """The replica that leads (this one), once it says so itself."""
        def leads():
            found = self.leader()
            if not found or server not in (None, found):
                return None
            return found if found.http("GET", "/readyz")[1].get("role") == "leader" else None
        return lab.wait_for(leads, seconds, lambda: f"a leader: {[s.log_tail(4) for s in self.servers if s.starts]}")

    def others(self, server):
        return [s for s in self.servers if s is not server]


class Replication(lab.Suite):
    side_by_side = 3

    def setUp(self):
        super().setUp()
        why = why_no_zookeeper()
        if why:
            self.skipTest(why)

    def applied_alike(self, cluster, seconds=15):
        """Every replica has applied as much as the leader."""
        def alike():
            heads = {s.cli.cluster()["index"] for s in cluster.servers if s.running()}
            return len(heads) == 1
        lab.wait_for(alike, seconds, "replicas to be alike")

    def test_a_standby_with_a_full_disk_says_so_and_catches_up(self):
        """The others go on beside it; what was answered with success meanwhile is in its books once there is room."""
        if os.geteuid() != 0:
            self.skipTest("mounting a tmpfs needs root")
        c = Cluster(self, start=False)
        first, second = c.servers
        small = lab.Tmpfs(second.data, "6m")
        self.addCleanup(small.close)
        self.addCleanup(second.close)
        since = lab.instant(time.time() - 1)
        first.start()
        second.start()
        first.apply({"tick": {"command": ["true"], "schedule": "* * * * * *", "concurrency": "allow"}})
        ballast = os.path.join(second.data, "ballast")
        with open(ballast, "wb", buffering=0) as f:
            try:
                while True:
                    f.write(b"x" * 4096)
            except OSError:
                pass
        lab.wait_for(lambda: second.http("GET", "/readyz")[0] == 503, 20, "the full disk to be noticed")
        self.assertIn("full", str(second.http("GET", "/readyz")[1]))
        told = [x for x in second.cli.call("doctor", "-o", "json").json() if x["status"] == "error"]
        self.assertTrue([x for x in told if "full" in x["text"]], told)
        run = first.cli.trigger("tick")
        self.assertEqual("succeeded", first.cli.wait_end(run)["verdict"])
        self.assertEqual(200, first.http("GET", "/readyz")[0])
        os.unlink(ballast)
        lab.wait_for(lambda: second.http("GET", "/readyz")[0] == 200, 20, "it to be ready again")
        first.kill()
        c.wait_leader(second)
        self.assertEqual("succeeded", second.cli.run(run)["verdict"])
        answer = second.cli.call("audit", "--since", since)
        self.assertEqual(0, answer.code, answer)

    def test_a_standby_takes_over_when_the_leader_is_killed(self):
        c = Cluster(self)
        ledger = lab.Ledger(self.folder)
        first, second = c.servers
        first.apply({"tick": ledger.process_job(schedule="* * * * * *", concurrency="allow")})
        lab.wait_for(lambda: len(second.cli.runs("tick", "--state", "ended")) >= 2, 30, "two runs")
        since = lab.instant(time.time() - 2)
        begun = time.time()
        first.kill()
        c.wait_leader(second)
        self.promised("take-over from a killed leader", second.led_at() - begun, second, ceiling_s=SESSION_S)
        first.start()  # what it had prepared is its own: only it can tell what became of that
        answer = second.cli.audit(since)
        self.assertEqual(0, answer.code, answer)
        self.assertNone(lab.Checker(ledger).strict().problems)
        self.assertNone(r for r in second.cli.runs("tick") if r["verdict"] == "lost")
        takeovers = second.cli.json("cluster", "takeovers")
        self.assertEqual(["start", "connection-closed"], [r["cause"] for r in takeovers][:2], takeovers)
        described = Description(TOP)
        schema = described.all["components"]["schemas"]["Cluster"]
        self.assertNone(p for s in c.servers for p in described.problems(s.cli.cluster(), schema))

    def test_nothing_is_lost_while_zookeeper_is_away(self):
        """Longer than the session's time: nobody starts anything, then all that was due is caught up with."""
        c = Cluster(self)
        ledger = lab.Ledger(self.folder)
        c.servers[0].apply({"tick": ledger.process_job(schedule="* * * * * *", concurrency="allow", catch_up="all")})
        lab.wait_for(lambda: len(ledger.starts()) >= 2, 30, "two starts")
        first = int(time.time())
        c.zk.kill()
        gone = time.time()
        lab.quiet_for(3 * SESSION_S)
        back = time.time()
        c.zk.start()
        c.wait_leader()
        last = int(time.time())
        wanted = [lab.run_id("tick", t) for t in lab.every_second(first, last)]
        lab.wait_for(lambda: all(ledger.starts(run) for run in wanted), 60, "what was due to be started")
        self.assertNone(lab.Checker(ledger).strict().problems)
        self.assertNone(x for x in ledger.lines() if x.what == "start" and gone + SESSION_S < x.wall < back)
        answer = c.servers[0].cli.audit(lab.instant(first), lab.instant(last))
        self.assertEqual(0, answer.code, answer)

    def states_alike(self, cluster, least):
        """The (batch, hash) that all replicas found alike, at this batch or later."""
        def alike():
            rows = cluster.view(cluster.servers[0])["replicas"]
            states = {(r["state"]["index"], r["state"]["hash"]) for r in rows if r["state"]}
            if len(rows) == len(cluster.servers) and len(states) == 1 and min(states)[0] >= least:
                return states.pop()
            self.assertEqual([], cluster.view(cluster.servers[0])["differences"])
            return None
        return lab.wait_for(alike, 120, f"a state of all replicas at one batch from {least} on")

    def test_every_replica_folds_to_the_same_state(self):
        c = Cluster(self, replicas=3)
        leader = c.wait_leader()
        leader.apply({f"j{i}": {"command": ["true"], "schedule": "* * * * * *", "concurrency": "allow"}
                      for i in range(12)})
        first = self.states_alike(c, 500)
        leader.kill()
        leader.start()
        c.wait_leader()
        second = self.states_alike(c, first[0] + 500)
        lab.say(f"three replicas alike at batch {first[0]}: {first[1][:8]}, and after a failover at batch {second[0]}: "
                f"{second[1][:8]}")
        text = c.servers[1].cli.check("cluster").out
        self.assertRegex(text, r"STATE\n(.*\b[0-9a-f]{8} at \d+\n){3}")
        self.assertNotIn("different", text)
        metrics = c.servers[1].http("GET", "/metrics")[1].decode()
        self.assertIn('cronsched_cluster_differs{what="state"} 0', metrics)
        self.assertIn("cronsched_cluster_replicas 3", metrics)
        checks = c.servers[1].cli.call("doctor", "-o", "json").json()
        self.assertEqual(["ok"], [x["status"] for x in checks if x["check"] == "replicas"])
        asked = [x for x in checks if x["check"] == "zookeeper"]
        versions = [x for x in asked if re.match(r"127\.0\.0\.1:\d+ has version 3\.\d+\.\d+", x["text"])]
        self.assertEqual(1, len(versions), asked)

    def test_the_replica_with_the_newest_tzdata_leads(self):
        zones = self.folder.join("old-zones")
        shutil.copytree("/usr/share/zoneinfo", zones, symlinks=True)
        with open(os.path.join(zones, "tzdata.zi"), "r+") as f:
            rest = f.read().split("\n", 1)[1]
            f.seek(0)
            f.truncate()
            f.write("# version 2019a\n" + rest)
        c = Cluster(self, environments=[{"TZDIR": zones}])
        c.wait_leader(c.servers[1], 60)
        self.assertIn("different tzdata: r0: 2019a", c.servers[1].cli.check("cluster").out)
        self.assertIn("resigning", c.servers[0].log())
        takeovers = c.servers[1].cli.json("cluster", "takeovers")
        self.assertEqual(["2019a", "20"], [takeovers[0]["tzdata"], takeovers[1]["tzdata"][:2]])
        c.servers[1].kill()  # with nobody else there, an old one is better than none
        c.wait_leader(c.servers[0], 60)

    def test_any_replica_takes_any_request(self):
        c = Cluster(self, replicas=3)
        leader = c.wait_leader()
        standby, other = c.others(leader)
        standby.apply({"j": {"command": ["/bin/echo", "hello"], "concurrency": "allow"}})
        self.assertEqual(["j"], [j["job"] for j in standby.cli.json("jobs")])  # what was written through it is seen in it
        run = other.cli.trigger("j", "--key", "k")
        self.assertEqual(run, standby.cli.trigger("j", "--key", "k"))
        self.assertEqual("succeeded", other.cli.wait_end(run)["verdict"])
        standby.cli.check("pause", "j", "--reason", "because")
        lab.wait_for(lambda: leader.cli.json("show", "j")["paused"], 10, "the pause to be seen")
        other.cli.check("resume", "j")
        records = str(leader.http("GET", "/v1/records?kinds=pause")[1])
        self.assertIn("unix:", records)  # the caller that the standby saw, not the standby
        self.assertEqual(3, standby.cli.call("trigger", "nobody").code)
        standby.cli.check("delete", "j")
        self.applied_alike(c)
        for server in c.servers:
            server.stop()

    def test_stepping_down_hands_over_at_once(self):
        c = Cluster(self, replicas=3)
        leader = c.wait_leader()
        c.wait_fit(leader)
        begun = time.time()
        c.others(leader)[0].cli.check("cluster", "step-down")
        lab.wait_for(lambda: c.leader() not in (None, leader), 10, "another leader")
        successor = c.wait_leader()
        self.promised("take-over from a leader that steps down", successor.led_at() - begun, successor, ceiling_s=SESSION_S)
        epoch = c.view(leader)["epoch"]
        self.assertEqual(2, epoch)
        lab.quiet_for(2 * SESSION_S)  # nobody flaps
        self.assertEqual(epoch, c.view(leader)["epoch"])

    def test_sigterm_hands_over_at_once(self):
        c = Cluster(self)
        first, second = c.servers
        begun = time.time()
        first.stop()
        c.wait_leader(second)
        self.promised("take-over from a leader that is asked to end", second.led_at() - begun, second, ceiling_s=SESSION_S)

    def test_a_leader_that_was_stopped_for_long_finds_itself_deposed(self):
        c = Cluster(self)
        ledger = lab.Ledger(self.folder)
        first, second = c.servers
        first.apply({"tick": ledger.process_job(schedule="*/2 * * * * *", concurrency="allow")})
        lab.wait_for(lambda: second.cli.runs("tick", "--state", "ended"), 30, "a run")
        os.kill(first.process.pid, signal.SIGSTOP)
        try:
            lab.wait_for(lambda: (c.view(second)["leader"] or {}).get("id") == "r1", 4 * SESSION_S,
                         "the standby to lead")
            lab.quiet_for(SESSION_S)  # stopped for longer than the session in all
        finally:
            os.kill(first.process.pid, signal.SIGCONT)
        lab.wait_for(lambda: "deposed" in first.log(), 20, "the old leader to notice")
        lab.wait_for(lambda: (c.view(first)["leader"] or {}).get("id") == "r1", 20, "the old leader to follow")
        self.assertNone(lab.Checker(ledger).strict().problems)

    def test_a_trigger_with_a_key_survives_failovers_through_a_standby(self):
        c = Cluster(self, replicas=3)
        ledger = lab.Ledger(self.folder)
        leader = c.wait_leader()
        standby = c.others(leader)[0]
        standby.apply({"j": ledger.process_job("sleep 0.2", concurrency="allow")})
        answers, stop = [], threading.Event()

        def send():
            while not stop.is_set():
                answers.append(standby.cli.call("trigger", "j", "--key", "one", "-o", "json"))

        threads = [threading.Thread(target=send) for _ in range(2)]
        for t in threads:
            t.start()
        for _ in range(3):
            lab.quiet_for(1)
            victim = lab.wait_for(c.leader, 30, "a leader")
            if victim is standby:
                victim.cli.check("cluster", "step-down")
            else:
                victim.kill()
                victim.start()
        stop.set()
        for t in threads:
            t.join()
        runs = {a.json()["run"] for a in answers if a.code == 0}
        lab.say(f"{len(answers)} sends of one key over three failovers: {sum(a.code == 0 for a in answers)} answered, "
                f"{len(runs)} run")
        self.assertEqual(1, len(runs))
        self.assertNone(str(a) for a in answers if a.code not in (0, 5, 7))
        self.assertEqual("succeeded", standby.cli.wait_end(runs.pop())["verdict"])
        self.assertNone(lab.Checker(ledger).strict().problems)

    def test_a_replica_with_an_empty_disk_joins(self):
        c = Cluster(self)
        first, second = c.servers
        first.apply({f"j{i}": {"command": ["true"], "schedule": "0 3 * * *"} for i in range(50)})
        second.stop()
        fresh = c.make(1, name="fresh")
        fresh.start()
        self.assertEqual(50, len(fresh.cli.json("jobs")))
        first.kill()
        c.servers = [fresh]
        c.wait_leader(fresh)
        self.assertEqual(50, len(fresh.cli.json("jobs")))

    def test_history_that_a_replica_never_saw_comes_from_another(self):
        c = Cluster(self)
        first, second = c.servers
        since = lab.instant(time.time() - 1)
        first.apply({"tick": {"command": ["true"], "schedule": "* * * * * *", "concurrency": "allow"}})
        lab.wait_for(lambda: len(second.cli.runs("tick", "--state", "ended")) >= 8, 30, "some runs")
        until = lab.instant(time.time() - 3)
        self.applied_alike(c)
        second.stop()
        # as if it had been deposed before it heard of these batches, or had been away when they were written
        db = sqlite3.connect(os.path.join(second.data, "history.db"))
        low, high = db.execute("SELECT min(idx), max(idx) FROM records WHERE idx > 5").fetchone()
        high -= (high - low) // 3
        times = db.execute("SELECT min(time), max(time) FROM records WHERE idx BETWEEN ? AND ?", (low, high)).fetchone()
        for table in ("runs", "skips", "records"):
            db.execute(f"DELETE FROM {table} WHERE idx BETWEEN ? AND ?", (low, high))
        db.execute("INSERT INTO gaps VALUES(?, ?, ?, ?, 0)", (low, high, *times))
        db.commit()
        db.close()
        second.start()
        lab.wait_for(lambda: "history-copied" in second.log(), 30, "the missing part to come")
        self.assertEqual(0, second.cli.audit(since, until).code)
        self.assertEqual(*[[(r["run"], r["verdict"]) for r in s.cli.runs("tick") if r["fire_time"] < until]
                           for s in c.servers])
        self.assertEqual(*[s.http("GET", f"/v1/records?kinds=all&until={until}&limit=9000")[1] for s in c.servers])

    def test_losing_every_disk_loses_no_job(self):
        c = Cluster(self)
        c.servers[0].apply({"j": {"command": ["true"], "schedule": "0 3 * * *"}})
        for server in c.servers:
            server.kill()
        fresh = [c.make(i, name="fresh") for i in range(2)]
        c.servers = fresh
        for server in fresh:
            server.launch()
        leader = c.wait_leader()
        self.assertEqual(["j"], [j["job"] for j in leader.cli.json("jobs")])
        leader.cli.check("trigger", "j", "--wait")

    def test_an_empty_zookeeper_under_a_store_that_knows_more_is_refused(self):
        c = Cluster(self)
        first, second = c.servers
        first.apply({"j": {"command": ["true"]}})
        self.applied_alike(c)
        for server in c.servers:
            server.stop()
        other = ZooKeeper(self.folder.make("zk-empty")).start()
        self.addCleanup(other.close)
        other.wait_up()
        first.config["zookeeper"] = other.connect
        first.launch()
        lab.wait_for(lambda: "ZooKeeper holds nothing of this cluster" in first.log(), 30, "the refusal")
        self.assertTrue(first.running())
        self.assertEqual(503, first.http("GET", "/readyz")[0])
        first.config["zookeeper"] = c.zk.connect
        first.stop()
        first.start()
        self.assertEqual(["j"], [j["job"] for j in first.cli.json("jobs")])

    def test_zookeeper_away_for_a_while_stops_writes_and_nothing_else(self):
        c = Cluster(self)
        first, second = c.servers
        first.apply({"tick": {"command": ["true"], "schedule": "* * * * * *", "concurrency": "allow"}})
        lab.wait_for(lambda: second.cli.json("jobs"), 15, "the standby to follow")  # what it has not heard it cannot serve
        since = lab.instant(time.time() - 1)
        c.zk.kill(0)
        lab.quiet_for(SESSION_S + 2)
        self.assertEqual(["tick"], [j["job"] for j in second.cli.json("jobs")])  # reads are served
        self.assertTrue(first.running() and second.running())
        c.zk.start(0)
        leader = c.wait_leader()
        lab.wait_for(lambda: leader.cli.audit(since).code == 0 and
                     lab.parse_instant(leader.cli.json("jobs")[0]["next"]) > time.time() - 2, 30, "all to be caught up")

    def logs_everywhere(self, servers, run):
        texts = {server.name: server.cli.check("logs", run).out for server in servers}
        self.assertEqual(1, len(set(texts.values())), texts)
        return texts.popitem()[1]

    def test_a_log_is_read_through_every_replica_and_outlives_the_one_that_wrote_it(self):
        c = Cluster(self, replicas=3)
        leader = c.wait_leader()
        leader.apply({"j": {"command": ["/bin/sh", "-c", "seq 100000"]}})
        run = leader.cli.trigger("j")
        leader.cli.wait_end(run)
        whole = "".join(f"{i}\n" for i in range(1, 100001))
        self.assertEqual(whole, self.logs_everywhere(c.servers, run))
        for server in c.others(leader):
            lab.wait_for(lambda s=server: os.path.exists(os.path.join(s.data, "logs", "j", f"{run}.1.log")), 20,
                         f"the copy of {server.name}")
        leader.kill()
        self.assertEqual(whole, self.logs_everywhere(c.others(leader), run))
        self.assertEqual(["100000"], c.others(leader)[0].cli.check("logs", run, "--tail", 1).out.split())

    def test_a_log_that_is_nowhere_else_waits_for_its_replica(self):
        c = Cluster(self)
        first, second = c.servers
        first.apply({"j": {"command": ["/bin/sh", "-c", "echo begun; sleep 600"]}})
        run = first.cli.trigger("j")
        lab.wait_for(lambda: "begun" in second.cli.call("logs", run).out, 20, "the log of what runs at the other")
        first.kill()
        answer = second.cli.call("logs", run)
        self.assertNotEqual(0, answer.code)
        self.assertRegex(answer.err, "does not answer|is away")
        lab.wait_for(lambda: "that replica is away" in second.cli.call("logs", run).err, 30, "word that the replica is away")
        self.assertEqual(5, second.cli.call("logs", run).code)
        first.start()
        self.assertIn("begun", lab.wait_for(lambda: second.cli.call("logs", run).out, 30, "the log"))
        second.cli.check("kill", run)
        self.assertEqual("killed", second.cli.wait_end(run)["verdict"])

    def test_a_log_is_followed_through_a_standby_and_a_change_of_leader(self):
        c = Cluster(self, replicas=3)
        leader = c.wait_leader()
        standby = c.others(leader)[0]
        leader.apply({"j": {"command": ["/bin/sh", "-c", "for i in 1 2 3 4 5 6 7 8; do echo $i; sleep 1; done"]}})
        run = leader.cli.trigger("j")
        answers = []
        thread = threading.Thread(target=lambda: answers.append(standby.cli.call("logs", "-f", run)))
        thread.start()
        lab.wait_for(lambda: leader.cli.run(run)["state"] == "running", 20, "the run to start")
        c.wait_fit(leader)
        leader.cli.check("cluster", "step-down")
        lab.wait_for(lambda: c.leader() not in (None, leader), 10, "another leader")
        thread.join()
        self.assertEqual("1\n2\n3\n4\n5\n6\n7\n8\n", answers[0].out, answers[0])
        self.assertEqual("succeeded", standby.cli.wait_end(run)["verdict"])  # the successor asked its replica

    def test_what_a_living_replica_had_prepared_is_fenced_by_its_successor(self):
        c = Cluster(self)
        ledger = lab.Ledger(self.folder)
        first, second = c.servers
        first.apply({"tick": ledger.process_job(schedule="* * * * * *", concurrency="allow")})
        lab.wait_for(lambda: len(second.cli.runs("tick", "--state", "ended")) >= 2, 30, "two runs")
        armed = first.cli.runs("tick", "--state", "armed")  # lost with this machine: little
        self.assertNone(r for r in armed if lab.parse_instant(r["fire_time"]) > time.time() + 2.5)
        since = lab.instant(time.time())
        first.cli.check("cluster", "step-down")
        c.wait_leader(second)
        lab.wait_for(lambda: len([r for r in second.cli.runs("tick", "--state", "ended")
                                  if r["fire_time"] > since]) >= 3, 20, "three runs under the successor")
        self.assertNone(r for r in second.cli.runs("tick") if r["verdict"] not in (None, "succeeded"))
        self.assertNone(lab.Checker(ledger).strict().problems)

    def test_two_of_one_name_are_refused(self):
        c = Cluster(self)
        twin = c.make(1, name="twin")
        twin.config.update(replica="r0", listen=[f"unix:{twin.socket}"], advertise="http://127.0.0.1:1")
        epoch = c.view(c.servers[0])["epoch"]
        twin.launch()
        lab.wait_for(lambda: "needs an id of its own" in twin.log(), 30, lambda: f"the refusal: {twin.log_tail(6)}")
        status, answer = twin.http("GET", "/readyz")
        self.assertEqual(503, status)
        self.assertIn("another process serves as replica 'r0'", str(answer))
        self.assertIn("another process serves as replica 'r0'", twin.cli.call("doctor").out)
        lab.quiet_for(SESSION_S)
        self.assertIs(c.servers[0], c.leader())  # the first one stays
        self.assertEqual(epoch, c.view(c.servers[0])["epoch"])
        self.assertEqual(200, c.servers[0].http("GET", "/readyz")[0])
        c.servers[0].stop()  # then the name is free
        lab.wait_for(lambda: twin.cli.cluster()["standing"] == "member", 20,
                     lambda: f"the name to be taken: {twin.log_tail(6)}")
        twin.kill()
        os.unlink(os.path.join(twin.data, "attempts", ".owner"))  # as it says: the same replica under a new name
        twin.config.update(replica="r2", init=False, listen=[f"unix:{twin.socket}"])  # with one it is a third replica
        twin.start()
        c.servers[0].start()
        lab.wait_for(lambda: {r["id"] for r in c.view(twin)["replicas"]} == {"r0", "r1", "r2"}, 20,
                     lambda: f"three replicas: {c.view(twin)}")

    def test_a_copied_data_folder_judges_nothing_of_the_original(self):
        ledger = lab.Ledger(self.folder)
        c = Cluster(self, start=False)
        first, copy = c.servers
        first.start()
        c.wait_leader(first)
        first.apply({"long": ledger.process_job("sleep 300", on_lost="rerun", timeout="10m")})
        run = first.cli.trigger("long")
        lab.wait_for(lambda: ledger.starts(run), 30, "the start")
        shutil.rmtree(copy.data)
        shutil.copytree(first.data, copy.data, ignore=shutil.ignore_patterns("*.sock"))
        copy.launch()
        self.assertNotEqual(0, copy.process.wait(lab.scaled(20)))
        self.assertIn("belong to replica r0", copy.log())
        os.unlink(os.path.join(copy.data, "attempts", ".owner"))  # as if an older build had made it
        copy.start()
        lab.wait_for(lambda: "data-folder-copied" in copy.log(), 20, "the copy to notice")
        lab.wait_for(lambda: "is a copy of that of r0" in first.cli.call("doctor").out, 20, lambda: "others to be told: " + first.cli.call("doctor").out)
        first.kill()
        c.wait_leader(copy)
        lab.wait_for(lambda: copy.cli.run(run)["state"] == "unresolved", 20, lambda: copy.cli.run(run))
        self.assertIn("one is a copy", copy.cli.run(run)["text"])
        first.start()
        lab.wait_for(lambda: copy.cli.run(run)["state"] == "running", 30, lambda: copy.cli.run(run))
        self.assertEqual(1, ledger.starts(run))
        first.cli.check("kill", run)
        copy.cli.wait_end(run)

    def test_others_are_known_by_the_secret_alone(self):
        c = Cluster(self)
        leader, standby = c.wait_leader(), None
        standby = c.others(leader)[0]
        import urllib.error
        import urllib.request
        url = f"http://127.0.0.1:{c.ports[c.servers.index(standby)]}/v1/jobs"
        request = urllib.request.Request(url, headers={"Authorization": "Bearer " + "0" * 64,
                                                       "Cronsched-Acting": "admin unix:root"})
        with self.assertRaises(urllib.error.HTTPError) as raised:
            urllib.request.urlopen(request, timeout=lab.scaled(10))
        self.assertEqual(401, raised.exception.code)
        self.assertEqual(403, leader.http("POST", "/v1/peer/engine", {})[0])


if __name__ == "__main__":
    lab.main()
