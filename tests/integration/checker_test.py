#!/usr/bin/python3
"""The checker of the drills against ledgers that are made up: each rule broken once has to be found, and nothing else."""

import os
import sys
import xml.dom.minidom

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lab"))
import checker  # noqa: E402
import lab  # noqa: E402

START, BOOT = 1795694400, 1795690000  # a whole minute; the machine's start


def plan(count=5, read=START + 1000, **more):
    return {"jobs": {"j": {"start": START, "interval": 10, "count": count, "duration": 1, "epsilon": 4}}, "read": read,
            "boot": BOOT, **more}


def line(what, k, late=0.5, attempt=1, job="j", fire=None):
    fire = START + 10 * k if fire is None else fire
    return f"{what} {checker.name(job, fire)} {attempt} 7 {fire + late - BOOT:.2f}\n"


def run(k, late=0.5, **more):
    return line("start", k, late, **more) + line("end", k, late + 1, **more)


def good(but=(), count=5):
    return "".join(run(k) for k in range(count) if k not in but)


class Checker(lab.Suite):
    def expect(self, ledger, *broken, of=None):
        """Exactly these rules are found broken."""
        verdict = checker.check(of or plan(), ledger)
        found = {rule for rule in checker.RULES if verdict[rule]}
        self.assertEqual(set(broken), found, verdict)
        self.assertEqual(not broken, verdict["valid"])
        return verdict

    def test_a_good_ledger_passes(self):
        verdict = self.expect(good())
        self.assertEqual((5, 5, 5), (verdict["owed"], verdict["runs"], verdict["starts"]))
        self.assertAlmostEqual(0.5, verdict["lateness"]["max"], places=2)

    def test_a_second_start_is_found(self):
        self.expect(good() + line("start", 2, 3), "doubled")

    def test_a_second_attempt_is_a_second_start(self):
        self.expect(good() + run(2, 3, attempt=2), "doubled")

    def test_a_second_start_that_did_not_end_is_found(self):
        self.expect(good(but=[2]) + line("start", 2) + line("start", 2, 1) + line("end", 2, 2), "doubled")

    def test_a_fire_time_without_a_run_is_found(self):
        verdict = self.expect(good(but=[3]), "missed", "never_started")
        self.assertEqual([checker.name("j", START + 30)], verdict["missed"])

    def test_an_empty_ledger_misses_all(self):
        self.assertEqual(5, self.expect("", "missed", "never_started")["missed_count"])

    def test_a_run_of_another_time_does_not_make_good_for_a_missed_one(self):
        self.expect(good(but=[3]) + run(0, 0.5, fire=START + 33), "never_started", "unplanned")

    def test_a_start_beyond_the_window_is_found(self):
        self.expect(good(but=[3]) + run(3, 9.5), "late", "missed")

    def test_forgiveness_is_the_edge(self):
        self.expect(good(but=[3]) + run(3, 9.0))

    def test_a_start_before_its_time_is_found(self):
        self.expect(good(but=[3]) + run(3, -2), "early", "missed")

    def test_an_incomplete_run_satisfies_no_window(self):
        verdict = self.expect(good(but=[3]) + line("start", 3), "missed")
        self.assertEqual(1, verdict["incomplete_count"])

    def test_an_end_without_a_start_is_found(self):
        self.expect(good(but=[3]) + line("end", 3), "unstarted", "missed", "never_started")

    def test_a_job_that_nobody_planned_is_found(self):
        self.expect(good() + run(1, job="stranger"), "unplanned")

    def test_what_may_still_come_is_not_owed(self):
        of = plan(read=START + 45)
        self.assertEqual(4, checker.check(of, good())["owed"])  # the last could start until 49, and end at 50
        self.expect(good(but=[4]), of=of)
        self.expect(good(but=[3]), "missed", "never_started", of=of)

    def test_one_torn_line_is_what_a_crash_leaves_two_are_not(self):
        self.assertTrue(checker.check(plan(), good() + "start j@2026")["valid"])
        self.assertFalse(checker.check(plan(), "start j@2026\nrubbish\n" + good())["valid"])

    def test_overlapping_windows_need_a_run_each(self):
        of = plan()
        of["jobs"]["j"]["epsilon"] = 30
        self.expect(good(but=[1]), "missed", "never_started", of=of)

    def test_what_is_forgiven_needs_no_start_and_takes_none(self):
        of = plan()
        of["jobs"]["j"]["epsilon"] = 30
        forgiven = checker.check(of, good(but=[1]), forgive={checker.name("j", START + 10)})
        self.assertTrue(forgiven["valid"], forgiven)
        cut_off = checker.check(of, good(but=[1]) + line("start", 1), forgive={checker.name("j", START + 10)})
        self.assertTrue(cut_off["valid"], cut_off)
        self.assertEqual(1, cut_off["incomplete_count"])
        other = checker.check(of, good(but=[1, 3]), forgive={checker.name("j", START + 10)})
        self.assertEqual((1, 1), (other["missed_count"], other["never_started_count"]), other)

    def test_the_picture_is_whole(self):
        of = plan(faults=[{"from": START + 12, "to": START + 15, "what": "kill <r1>"}],
                  leaders=[{"at": START, "who": "r1"}, {"at": START + 13, "who": "r2"}])
        text = checker.picture(of, good(but=[3]))
        self.assertIn("#d33", text)
        xml.dom.minidom.parseString(text)


if __name__ == "__main__":
    lab.main()
