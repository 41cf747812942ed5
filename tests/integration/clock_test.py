#!/usr/bin/python3
"""Replicas whose clocks are wrong or are set: what they fire, and who leads."""

import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lab"))
import lab  # noqa: E402
from cluster_test import Cluster  # noqa: E402
from faked_clock import FakedClock, why_no_faked_clock  # noqa: E402
from zookeeper import why_no_zookeeper  # noqa: E402


class Clocks(lab.Suite):
    def setUp(self):
        super().setUp()
        why = why_no_zookeeper() or why_no_faked_clock()
        if why:
            self.skipTest(why)
        self.ledger = lab.Ledger(self.folder)
        self.clock = FakedClock(self.folder)
        self.cluster = Cluster(self, environments=[self.clock.environment])
        self.first, self.second = self.cluster.servers

    def clock_check(self, server):
        return [x for x in server.cli.call("doctor", "-o", "json").json() if x["check"] == "clock"][0]

    def test_a_leader_whose_clock_is_set_to_another_time_fires_nothing_early_and_gives_up_the_lead(self):
        self.first.apply({"tick": self.ledger.process_job(schedule="* * * * * *", concurrency="allow")})
        lab.wait_for(lambda: len(self.ledger.starts()) >= 3, 30, "three starts")
        begun = time.time()
        self.clock.step(7200)
        lab.wait_for(lambda: "clock-jump" in self.first.log(), 20, "the jump to be noticed")
        self.assertEqual("error", self.clock_check(self.first)["status"])
        self.cluster.wait_leader(self.second, 60)
        lab.say(f"another led {time.time() - begun:.1f} s after the leader's clock was set two hours ahead")
        since = lab.instant(time.time())
        lab.wait_for(lambda: len([r for r in self.second.cli.runs("tick", "--state", "ended")
                                  if r["fire_time"] > since]) >= 3, 30, "three runs under the successor")
        late = lab.instant(time.time() + 60)
        self.assertNone(r["run"] for r in self.second.cli.runs("tick") if r["fire_time"] > late)
        self.assertNone(lab.Checker(self.ledger).strict().problems)
        self.assertIn("different clock: r0: +7", self.second.cli.check("cluster").out)
        self.clock.step(0)
        lab.wait_for(lambda: self.clock_check(self.first)["status"] != "error", 30, "the clock to be believed again")
        lab.wait_for(lambda: "different" not in self.second.cli.check("cluster").out, 30, "the difference to go")

    def test_a_small_offset_is_shown_and_costs_nothing(self):
        self.clock.step(1)
        lab.wait_for(lambda: "different clock: r0: +" in self.second.cli.check("cluster").out, 30, "the offset to be shown")
        self.assertEqual(self.first, self.cluster.leader())


class OneServer(lab.Suite):
    """Nothing else knows what time it is: the kernel says nothing of a clock that is faked."""

    def setUp(self):
        super().setUp()
        if why_no_faked_clock():
            self.skipTest(why_no_faked_clock())
        self.ledger = lab.Ledger(self.folder)
        self.clock = FakedClock(self.folder)
        self.one = self.server(environment=self.clock.environment)

    def told(self):
        """In how many places it is told that the clock is not followed."""
        doctor = [x for x in self.one.cli.call("doctor", "-o", "json").json() if x["check"] == "clock"][0]
        ready = str(self.one.http("GET", "/readyz")[1])
        audit = self.one.cli.call("audit", "--since", "10s")
        return ("clock-jump" in self.one.log(), doctor["status"] == "error", "accept-clock" in ready,
                self.one.metric("cronsched_clock_held") == 1, audit.code == 1 and "wall clock" in audit.out)

    def starts_after(self, count):
        lab.wait_for(lambda: len(self.ledger.starts()) >= count, 30, f"{count} starts")

    def test_a_clock_that_was_ahead_at_a_start_silences_nothing(self):
        self.one.start()
        self.one.apply({"tick": self.ledger.process_job(schedule="*/2 * * * * *", concurrency="allow")})
        self.starts_after(1)
        self.one.stop()
        self.clock.step(7200)
        self.one.start()
        self.starts_after(len(self.ledger.starts()) + 2)
        self.one.stop()
        self.clock.step(0)
        self.one.launch()  # two hours behind its journal
        self.starts_after(len(self.ledger.starts()) + 2)
        self.assertEqual((True,) * 5, self.told())
        self.one.cli.check("cluster", "accept-clock")
        since = time.time()
        # those of the next 30 s were reserved, and have run while the clock was ahead
        lab.wait_for(lambda: [r for r in self.one.cli.runs("tick", "--state", "ended")
                              if since < lab.parse_instant(r["fire_time"]) < since + 60], 50, "a fire time of this time to run")
        self.assertTrue(self.one.ready())

    def test_a_clock_that_is_set_while_it_runs_is_not_followed(self):
        self.one.start()
        self.one.apply({"tick": self.ledger.process_job(schedule="*/2 * * * * *", concurrency="allow")})
        self.starts_after(1)
        self.clock.step(7200)
        self.starts_after(len(self.ledger.starts()) + 2)
        self.assertEqual((True,) * 5, self.told())
        late = time.time() + 60
        self.assertNone(r["run"] for r in self.one.cli.runs("tick") if lab.parse_instant(r["fire_time"]) > late)
        self.clock.step(0)
        lab.wait_for(lambda: self.one.metric("cronsched_clock_held") == 0, 20, "the clock to be believed again")


if __name__ == "__main__":
    lab.main()
