#!/usr/bin/python3
"""The machinery of the tests itself: what a run leaves to other days, how deadlines and promises scale, how skips and
ends are told."""

import os
import signal
import subprocess
import sys
import time

TESTS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..")
sys.path[:0] = [os.path.join(TESTS, "lab"), TESTS]
import lab  # noqa: E402
import pace  # noqa: E402
import run as runner  # noqa: E402
import sample  # noqa: E402

NAMES = [f"{engine}_{i:02}" for engine in ("docker", "process") for i in range(40)]


def group_of(name):
    engine = name.split("_")[0]
    return sample.Group(engine, ("common/", f"engines/{engine}/"), 8, 3)


class Sampling(lab.Suite):
    """On repositories of its own; CRONSCHED_DAY and the like are this process's."""

    def setUp(self):
        super().setUp()
        self.addCleanup(setattr, sample, "TOP", sample.TOP)
        self.addCleanup(sample.changes.cache_clear)
        for name in ("CRONSCHED_DAY", "CRONSCHED_WHOLE", "CRONSCHED_BASE"):
            self.addCleanup(self.restore, name, os.environ.pop(name, None))

    @staticmethod
    def restore(name, value):
        os.environ.pop(name, None)
        if value is not None:
            os.environ[name] = value

    def git(self, *words):
        subprocess.run(["git", "-c", "user.name=t", "-c", "user.email=t@t", "-c", "init.defaultBranch=main", *words],
                       cwd=sample.TOP, check=True, capture_output=True)

    def repository(self, commits=1):
        sample.TOP = self.folder.make("repository")
        self.git("init")
        for i in range(commits):
            self.commit(f"file-{i}")
        sample.changes.cache_clear()

    def commit(self, path):
        self.folder.write(os.path.join("repository", path), "text\n")
        self.git("add", "-A")
        self.git("commit", "-m", path)
        sample.changes.cache_clear()

    def on(self, day):
        os.environ["CRONSCHED_DAY"] = str(day)
        return sample.chosen("table", NAMES, group_of)

    def test_eight_days_run_everything_once(self):
        self.repository(12)
        taken = [n for day in range(100, 108) for n in self.on(day)[0]]
        self.assertEqual(NAMES, sorted(taken))
        self.assertEqual(self.on(100)[0], self.on(108)[0])

    def test_what_changed_is_run_more(self):
        self.repository(12)
        self.git("checkout", "-b", "work")
        self.commit("engines/docker/a.c")
        names, words = self.on(3)
        self.assertEqual((14, 5), tuple(sum(n.startswith(e) for n in names) for e in ("docker", "process")))
        self.assertIn("14 of 40 docker (one in 3, since engines/docker/a.c changed); 5 of 40 process (one in 8)", words)
        self.assertRegex(words, "day 3, changes since [0-9a-f]{8}, the merge base with main; all of it: --whole")

    def test_uncommitted_files_count(self):
        self.repository(12)
        self.folder.write("repository/engines/process/new.c", "text\n")
        self.assertIn("since engines/process/new.c changed", self.on(0)[1])

    def test_the_main_branch_looks_at_its_last_commits(self):
        self.repository(1)
        self.commit("common/a.c")
        for i in range(5):
            self.commit(f"other-{i}")
        self.assertIn("since common/a.c changed", self.on(0)[1])
        for i in range(sample.LAST_COMMITS):
            self.commit(f"later-{i}")
        self.assertNotIn("changed", self.on(0)[1].replace("changes", ""))

    def test_where_no_history_is_known_all_counts_as_changed(self):
        self.repository(5)
        whole = sample.TOP
        sample.TOP = self.folder.join("clone")
        subprocess.run(["git", "clone", "-q", "--depth", "1", f"file://{whole}", sample.TOP], check=True, capture_output=True)
        sample.changes.cache_clear()
        self.assertEqual(28, len(self.on(0)[0]))
        self.assertIn("a clone of one commit", self.on(0)[1])
        sample.TOP = self.folder.make("archive")
        sample.changes.cache_clear()
        self.assertEqual(28, len(self.on(0)[0]))

    def test_a_base_can_be_named_and_has_to_exist(self):
        self.repository(5)
        os.environ["CRONSCHED_BASE"] = "HEAD~2"
        self.assertEqual(["file-3", "file-4"], sample.changes()[0])
        os.environ["CRONSCHED_BASE"] = "no-such"
        sample.changes.cache_clear()
        with self.assertRaises(ValueError):
            sample.changes()

    def test_the_whole_is_the_whole(self):
        os.environ["CRONSCHED_WHOLE"] = "1"
        self.assertEqual((NAMES, f"table: all {len(NAMES)}"), sample.chosen("table", NAMES, group_of))


class Pace(lab.Suite):
    NAME = "take-over from a killed leader"

    def patience(self, value):
        self.addCleanup(os.environ.__setitem__, pace.VARIABLE, os.environ[pace.VARIABLE])
        os.environ[pace.VARIABLE] = str(value)

    def test_deadlines_are_stretched_and_promises_are_not(self):
        self.patience(3)
        began = time.monotonic()
        with self.assertRaisesRegex(lab.LabError, "waited 0.6 s for nothing"):
            lab.wait_for(lambda: False, 0.2, "nothing")
        self.assertGreaterEqual(time.monotonic() - began, 0.6)
        self.assertIn("allowed here 0.50 s", pace.promised(self.NAME, 0.4, lambda: None, 4))
        with self.assertRaises(pace.BrokenPromise):
            pace.promised(self.NAME, 0.6, lambda: None, 4)

    def test_a_promise_grows_with_its_peer_up_to_its_ceiling(self):
        pace.promised(self.NAME, 0.9, lambda: time.sleep(0.1), 4)
        with self.assertRaises(pace.BrokenPromise):
            pace.promised(self.NAME, 0.9, lambda: time.sleep(0.1), 0.8)

    def test_a_machine_is_never_too_fast_nor_without_end_slow(self):
        self.patience(0.1)
        self.assertEqual(20, lab.scaled(20))
        value, words = pace.measure()
        self.assertTrue(1 <= value <= pace.MOST, words)


class Telling(lab.Suite):
    def cases(self, lines, exit_code=0):
        found = []
        reader = runner.TapReader("s", found.append)
        for line in lines:
            reader.feed(line + "\n")
        reader.close(exit_code, [])
        return [(c.name, c.verdict, c.detail) for c in found]

    def test_a_skipped_case_has_its_name_and_its_reason(self):
        self.assertEqual([("one", "passed", []), ("two", "skipped", ["needs root"]), ("three", "skipped", ["no java"])],
                         self.cases(["1..3", "ok 1 - one", "needs root", "not ok 2 # SKIP two", "ok 3 - three # SKIP no java"]))

    def test_a_program_that_cannot_run_is_skipped(self):
        self.assertEqual([("s", "skipped", ["no dockerd"])], self.cases(["1..0 # SKIP no dockerd"], runner.SKIPPED))

    def test_a_plan_that_is_not_kept_is_a_failure(self):
        self.assertEqual("failed", self.cases(["1..2", "ok 1 - one"])[1][1])
        self.assertEqual("failed", self.cases(["1..1", "ok 1 - one"], 1)[1][1])
        self.assertEqual("failed", self.cases([])[0][1])

    def test_a_suite_that_is_asked_to_end_starts_no_further_case(self):
        path = self.folder.write("slow_test.py", f"""import sys
sys.path.insert(0, {os.path.join(TESTS, 'lab')!r})
import lab
class Slow(lab.Suite):
    def test_a(self): print("# begun", flush=True); lab.quiet_for(60)
    def test_b(self): pass
lab.main()
""")
        suite = subprocess.Popen(["/usr/bin/python3", path], stdout=subprocess.PIPE, text=True)
        said = [suite.stdout.readline() for _ in range(2)]
        self.assertIn("# begun\n", said)
        suite.send_signal(signal.SIGTERM)
        rest = suite.stdout.read()
        self.assertEqual(128 + signal.SIGTERM, suite.wait(lab.scaled(20)))
        self.assertNotRegex(rest, r"(?m)^(not )?ok 2")


if __name__ == "__main__":
    lab.main()
