#!/usr/bin/python3
"""The drills, in turn, against one lab: nothing doubled, lost or forgotten, and each fault is healed. They are dear, so a
run takes some of them (tests/lab/sample.py), and one canary a second.
  CRONSCHED_DRILLS   repeats of each (1)"""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lab"))
import lab  # noqa: E402
import sample  # noqa: E402

REPEATS = os.environ.get("CRONSCHED_DRILLS", "1")
SESSION = "4s"
PATHS = ("cronsched/drill/", "cronsched/cluster/", "leader/replicated/", "tests/lab/", "tests/integration/drill_test.py")
UNSAMPLED = "refused"  # costs nothing


def group_of(name):
    if UNSAMPLED in name:
        return sample.Group("refusals", (), 1, 1)
    return sample.Group("drills", PATHS, 5, 4)


class Drill(lab.Suite):
    @classmethod
    def sample(cls, names):
        return sample.chosen("drills", names, group_of)

    @classmethod
    def setUpClass(cls):
        why = lab.why_no_docker() or lab.why_no_zookeeper()
        if why:
            cls.skip(why)
        cls.place = lab.Folder("drill")
        cls.lab = None
        try:
            cls.lab = lab.Cluster(cls.place, session_timeout=SESSION)
        except BaseException:
            cls.tearDownClass()
            raise

    @classmethod
    def skip(cls, why):
        import unittest
        raise unittest.SkipTest(why)

    @classmethod
    def tearDownClass(cls):
        if cls.lab:
            cls.lab.close()
        cls.place.close()

    def tearDown(self):
        self.logs += [f"{r.id}: {line}" for r in self.lab.replicas.values() for line in r.log().splitlines()[-15:]]

    def drill(self, name, *options, forgets=False):
        """Its report. `forgets`: the journal of a time is lost, so some fire times of it have no start."""
        answer = self.lab.cli.call("drill", name, "--lab", self.lab.path, "--repeat", REPEATS, "--engine", "docker",
                                   "--rate", "1", *options, "-o", "json", timeout=600)
        self.assertEqual(0, answer.code, answer)
        self.assertNone(f"{r.id}: {w}" for r in self.lab.replicas.values() if (w := r.sanitizer_words()))
        report = answer.json()
        gap, first = report["gap_ms"] or {}, report["first_fire_ms"]["docker"] or {}
        lab.say(f"{name}, {len(report['repeats'])} times: new leader after {gap.get('median', '-')} ms, first start after "
                f"{first.get('median', '-')} ms, {report['canaries']['starts']} starts, 0 doubled, 0 lost")
        self.assertEqual(0, report["wrongly_led_count"])
        if forgets:
            told = report["unprovable_count"] + report["journal_lost_count"]
            self.assertLessEqual(report["canaries"]["fire_times"] - report["canaries"]["starts"], told)
            self.assertGreater(told, 0)
        elif name != "restart-engine":  # where an engine that dies in mid-start may leave nobody who can tell
            self.assertEqual(report["canaries"]["fire_times"], report["canaries"]["starts"])
            self.assertEqual(0, report["unprovable_count"])
        self.assertEqual([], self.lab.cli.json("jobs"), "the canaries are gone")
        self.assertEqual(3, len(self.lab.view()["replicas"]), "everybody is back")
        return report

    def test_step_down(self):
        for repeat in self.drill("step-down")["repeats"]:
            self.assertNotEqual(repeat["leader"], repeat["successor"])

    def test_kill_leader(self):
        for repeat in self.drill("kill-leader")["repeats"]:
            self.assertLess(repeat["gap_ms"], 4000, "the session timeout was waited for")

    def test_kill_leader_before_the_release(self):
        self.drill("kill-leader", "--at", "before-release")

    def test_pause_leader(self):
        for repeat in self.drill("pause-leader")["repeats"]:
            self.assertNotEqual(repeat["leader"], repeat["successor"])

    def test_power_off_leader(self):
        for repeat in self.drill("power-off-leader")["repeats"]:
            self.assertNotEqual(repeat["leader"], repeat["successor"])
            self.assertEqual("silent", repeat["cause"])

    def test_partition_leader_zookeeper(self):
        self.drill("partition-leader-zookeeper")

    def test_partition_leader_engine(self):
        self.drill("partition-leader-engine")

    def test_restart_zookeeper(self):
        self.drill("restart-zookeeper")

    def test_restart_engine(self):
        report = self.drill("restart-engine")
        never = report["canaries"]["fire_times"] - report["canaries"]["starts"]
        self.assertLessEqual(never, report["unprovable_count"])

    def test_restore_zookeeper(self):
        self.drill("restore-zookeeper", "--seed", "2", forgets=True)  # goes on from the tree

    def test_empty_zookeeper(self):
        self.drill("empty-zookeeper", forgets=True)

    def test_two_engines(self):
        self.drill("two-engines")

    def test_dual_stack(self):
        for repeat in self.drill("dual-stack")["repeats"]:
            self.assertEqual((repeat["leader"], repeat["epoch"]), (repeat["successor"], repeat["successor_epoch"]))

    def test_an_unknown_drill_is_refused(self):
        self.assertIn("did you mean 'kill-leader'?", self.lab.cli.call("drill", "kill-leaders", "--lab", self.lab.path).err)
        for words in (("pause-leader",), ("kill-leader", "--ledger", "/tmp", "--engine", "docker")):
            self.assertEqual(2, self.lab.cli.call("drill", *words).code, words)


if __name__ == "__main__":
    lab.main()
