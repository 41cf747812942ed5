#!/usr/bin/python3
"""What becomes of runs in real containers when the lead changes: adopted, handed over, fenced; and the report of it."""

import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lab"))
import lab  # noqa: E402
from cluster_test import Cluster  # noqa: E402
from zookeeper import why_no_zookeeper  # noqa: E402


class TakeOvers(lab.Suite):
    @classmethod
    def setUpClass(cls):
        cls.dockerd = lab.shared_docker()

    def setUp(self):
        super().setUp()
        why = why_no_zookeeper()
        if why:
            self.skipTest(why)
        self.ledger = lab.Ledger(self.folder)
        self.cluster = Cluster(self, engines={"docker": lab.docker_engine(self.dockerd)})
        self.first, self.second = self.cluster.servers

    def reports(self, server, epoch):
        """The report of this epoch's take-over, once it is written."""
        def report():
            for takeover in server.cli.json("cluster", "takeovers"):
                if takeover["epoch"] == epoch and "report" in takeover:
                    return takeover["report"]
            return None
        return lab.wait_for(report, 90, f"the report of epoch {epoch}")

    def wait_prepared(self, server):
        """A new leader prepares its reservations in the order of their times, some seconds long."""
        def prepared():
            armed = {r["run"] for r in server.cli.runs("tick", "--state", "armed")}
            return len(armed & {r["record"]["run"] for r in server.cli.json("records", "--kinds", "committed")}) >= 12
        lab.wait_for(prepared, 30, "reservations that are prepared")

    def tick(self):
        """A job of every second, with its reservations made."""
        self.first.apply({"tick": self.ledger.docker_job(schedule="* * * * * *", concurrency="allow")})
        lab.wait_for(lambda: len(self.first.cli.runs("tick", "--state", "ended")) >= 2 and
                     len(self.first.cli.runs("tick", "--state", "armed")) >= 15, 60, "runs, and others reserved")
        self.wait_prepared(self.first)

    def runs_on(self, server, since):
        """Fire times go on under this replica, each with one start."""
        lab.wait_for(lambda: len([r for r in server.cli.runs("tick", "--state", "ended") if r["fire_time"] > since]) >= 3,
                     60, "three runs under the successor")
        self.assertNone(r for r in server.cli.runs("tick") if r["verdict"] not in (None, "succeeded"))
        self.assertNone(lab.Checker(self.ledger).strict().problems)

    def test_stepping_down_hands_over_what_is_prepared(self):
        self.tick()
        since = lab.instant(time.time())
        self.first.cli.check("cluster", "step-down")
        self.cluster.wait_leader(self.second)
        self.runs_on(self.second, since)
        report = self.reports(self.second, 2)
        self.assertEqual(("r0", 1), (report["from_replica"], report["from_epoch"]))
        self.assertGreaterEqual(report["settled"].get("handed over", 0), 10, report)
        self.assertNotIn("lost", report["settled"])
        lab.say(report["text"])
        told = [r["record"] for r in self.second.cli.json("records", "--kinds", "epoch,takeover")]
        self.assertEqual("handed-over", [r for r in told if r["k"] == "epoch"][-1]["cause"])
        self.assertRegex(next(r["report"]["by"] for r in told if r.get("report", {}).get("handing_over")), "unix:.")
        self.wait_prepared(self.second)
        since = lab.instant(time.time())
        self.second.stop()  # SIGTERM is a clean hand-over, too
        self.cluster.wait_leader(self.first)
        self.runs_on(self.first, since)
        report = self.reports(self.first, 3)
        self.assertGreaterEqual(report["settled"].get("handed over", 0), 10, report)

    def test_a_killed_leader_leaves_a_report_of_each_unfinished_run(self):
        self.tick()
        self.first.apply({"long": self.ledger.docker_job("sleep 20"),
                          "retrying": {**self.ledger.docker_job("false"), "retries": {"max": 1, "delay": "10m"}},
                          "tick": self.ledger.docker_job(schedule="* * * * * *", concurrency="allow")})
        long, retrying = self.first.cli.trigger("long"), self.first.cli.trigger("retrying")
        lab.wait_for(lambda: (self.first.cli.run(long)["state"], self.first.cli.run(retrying)["state"]) ==
                     ("running", "retrying"), 30, "a run that runs and one that waits to be retried")
        since = lab.instant(time.time())
        self.first.kill()
        self.cluster.wait_leader(self.second)
        self.runs_on(self.second, since)
        report = self.reports(self.second, 2)
        became = {r["run"]: (r["was"], r["became"]) for r in report["runs"]}
        self.assertEqual(("running", "adopted"), became[long], report)
        self.assertEqual(("retrying", "waiting"), became[retrying], report)
        self.assertGreaterEqual(report["settled"].get("discarded", 0), 10, report)
        self.assertEqual("connection-closed", report["noticed"])
        self.assertEqual("succeeded", self.second.cli.wait_end(long)["verdict"])
        text = self.second.cli.check("cluster", "takeovers").out
        self.assertIn(report["text"][:40], text)
        lab.say(report["text"])


if __name__ == "__main__":
    lab.main()
