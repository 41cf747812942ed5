#!/usr/bin/python3
"""A rolling upgrade under load, from a build whose records are of level 1 to this one: nothing is doubled or lost, the
level rises when the last old replica is gone, and an old one that comes back later refuses, and says why."""

import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lab"))
import lab  # noqa: E402
from cluster_test import Cluster  # noqa: E402
from server import binary, has_faults  # noqa: E402
from zookeeper import why_no_zookeeper  # noqa: E402


class Upgrade(lab.Suite):
    def setUp(self):
        super().setUp()
        why = why_no_zookeeper() or (None if has_faults() else "only a build with faults has the old program beside it")
        if why:
            self.skipTest(why)

    def level(self, server):
        return server.cli.cluster()["level"]

    def written(self, server):
        """The level that the journal says may be written."""
        risen = server.http("GET", "/v1/records?kinds=rise")[1]
        return max([r["record"]["level"] for r in risen], default=1)

    def test_replicas_are_upgraded_one_by_one_under_load(self):
        ledger = lab.Ledger(self.folder)
        c = Cluster(self, replicas=3, engines={"docker": lab.docker_engine(lab.shared_docker())},
                    program=binary("cronsched-level-1"))
        first = c.servers[0]
        first.apply({f"j{i}": ledger.docker_job(schedule="* * * * * *", concurrency="allow") for i in range(2)})
        since = lab.instant(time.time() + 2)

        def goes_on():
            now = lab.instant(time.time())
            lab.wait_for(lambda: len([r for r in c.wait_leader().cli.runs("--state", "ended") if r["fire_time"] > now]) >= 3,
                         60, "runs that start and end")

        goes_on()
        for server in [*c.others(first), first]:
            self.assertEqual((1, 1), (self.level(first), self.written(first)))
            server.stop()
            server.program = binary()
            server.start()
            goes_on()
        leader = c.wait_leader()
        lab.wait_for(lambda: self.written(leader) == 5, 20, "the level to rise")
        self.assertIn("records of level 5", "".join(s.log_tail(400) for s in c.servers))
        leader.cli.check("cluster", "step-down")  # which is the record that only level 2 has
        lab.wait_for(lambda: "handed over" in c.wait_leader().cli.check("cluster", "takeovers").out, 60, "a hand-over")
        goes_on()

        old = c.others(c.wait_leader())[0]
        old.stop()
        old.program = binary("cronsched-level-1")
        old.launch()
        lab.wait_for(lambda: "a newer cronsched is needed" in old.log_tail(40), 30, "the old build to say what is wrong")
        self.assertTrue(old.running())
        goes_on()
        self.assertEqual(5, self.written(c.wait_leader()))
        old.kill()

        leader = c.wait_leader()
        leader.cli.check("pause", "--all")
        lab.wait_for(lambda: not [r for r in leader.cli.runs() if r["state"] not in ("ended", "skipped")], 60, "all to end")
        answer = leader.cli.audit(since)
        self.assertEqual(0, answer.code, answer)
        self.assertNone(lab.Checker(ledger).strict().problems)
        self.assertNone(r for r in leader.cli.runs() if r["verdict"] not in ("succeeded",))
        lab.say(f"{len(leader.cli.runs('--since', since))} runs over the upgrade of three replicas: all succeeded, none twice")


if __name__ == "__main__":
    lab.main()
