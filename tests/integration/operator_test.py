#!/usr/bin/python3
"""What an operator does in a day and after a bad night, against one real server that all cases share."""

import json
import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lab"))
import lab  # noqa: E402

NEVER = "0 0 1 1 *"  # nothing fires in the time of a test, save at New Year


class Operator(lab.Suite):
    side_by_side = 4

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.shared = lab.Folder("operator")
        cls.one = lab.Server(cls.shared, config={"log_level": "info"}).start()
        cls.cli = cls.one.cli

    @classmethod
    def tearDownClass(cls):
        cls.one.stop()
        cls.shared.close()
        super().tearDownClass()

    def apply(self, **jobs):
        path = self.folder.write("jobs.yaml", json.dumps({"jobs": jobs}))
        return self.cli.check("apply", path)

    def test_the_log_has_what_ran_and_who_changed_what(self):
        self.apply(**{"log-good": {"command": ["true"]}, "log-bad": {"command": ["sh", "-c", "exit 3"]}})
        good, bad = self.cli.trigger("log-good"), self.cli.trigger("log-bad")
        self.cli.wait_end(good)
        self.cli.wait_end(bad)
        self.cli.check("pause", "log-bad", "--reason", "too loud")

        def lines():
            every = [json.loads(line) for line in self.one.log().splitlines() if line.startswith("{")]
            return [line for line in every if line.get("job", "").startswith("log-")]
        lab.wait_for(lambda: "paused" in [line["event"] for line in lines()], 10, "the log's lines")
        told = {(line["event"], line.get("run") or line["job"]): line for line in lines()}
        self.assertEqual("warning", told["run-failed", bad]["level"])
        self.assertEqual((3, "failed", "manual", "process", 1),
                         tuple(told["run-failed", bad][k] for k in ("exit_code", "verdict", "cause", "engine", "attempts")))
        self.assertEqual(("info", 0), (told["run-ended", good]["level"], told["run-ended", good]["exit_code"]))
        self.assertIn(("run-started", good), told)
        me = told["applied", "log-good"]["by"]
        self.assertEqual({me}, {told[k]["by"] for k in [("triggered", good), ("paused", "log-bad")]})
        self.assertEqual("too loud", told["paused", "log-bad"]["text"])

    def test_records_tell_across_jobs_who_did_what_page_by_page(self):
        many = {f"rec-{i:04}": {"schedule": NEVER, "command": ["true"]} for i in range(1100)}
        self.apply(**many)
        self.cli.check("pause", "rec-0000", "--reason", "for the night")
        self.cli.check("delete", "rec-0001")
        rows = [r for r in self.cli.json("records") if r["record"].get("job", "").startswith("rec-")]
        self.assertEqual(1102, len(rows))
        self.assertEqual([(r["index"], r["seq"]) for r in rows], sorted({(r["index"], r["seq"]) for r in rows}))
        self.assertEqual({"job", "pause", "delete"}, {r["kind"] for r in rows})
        self.assertEqual(1, len({r["record"]["by"] for r in rows}))
        last = self.cli.check("records", "rec-0000", "--limit", "1").out
        self.assertRegex(last, r"pause +rec-0000 +unix:\S+ +for the night")
        self.assertNotIn("version 1", last)
        self.assertIn("No records.", self.cli.check("records", "rec-0000", "--until", "yesterday", "--since", "2d").out)
        wrong = self.cli.call("records", "--kinds", "pauses")
        self.assertEqual(2, wrong.code)
        self.assertIn("did you mean 'pause'", wrong.err)
        for after in ("1", "1.", ".1", "1.x", "x", "-1.0", "1.0.0", "99999999999999999999.0"):
            self.assertEqual(400, self.one.http("GET", f"/v1/records?after={after}")[0], after)


if __name__ == "__main__":
    lab.main()
