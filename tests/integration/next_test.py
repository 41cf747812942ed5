#!/usr/bin/python3
"""`next` and `dst-report` from outside: the sample's answers under several zones of the caller, what is refused and how
it is told, the text for people, calendars, jobs of a server."""

import json
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lab"))
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import lab  # noqa: E402
from fake_server import Fake  # noqa: E402

DATA = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "data")
EVERY = 16  # one case of so many: each is a process of its own; the unit tests ask all of them
JOBS = """
jobs:
  nightly: {schedule: "30 2 * * *", timezone: Europe/Paris, engine: process, command: [x]}
  often: {schedule: "*/15 * * * *", timezone: Europe/Paris, engine: process, command: [x]}
  calm: {schedule: "30 2 * * *", engine: process, command: [x]}
  by-hand: {engine: process, command: [x]}
"""
CALENDAR = ("BEGIN:VCALENDAR\r\nBEGIN:VEVENT\r\nDTSTART;VALUE=DATE:20251225\r\nRRULE:FREQ=YEARLY\r\n"
            "END:VEVENT\r\nEND:VCALENDAR\r\n")


def lines(name):
    with open(os.path.join(DATA, name), encoding="utf-8") as file:
        return [json.loads(line) for line in file]


class Next(lab.Suite):
    def cli(self, server="", **environment):
        return lab.Cli(server, {"HOME": self.folder.path, "NO_COLOR": "", **environment})

    def next(self, expression, *words, **environment):
        return self.cli(**environment).call("next", *words, expression)

    def test_the_sample_is_answered_alike_wherever_the_caller_is(self):
        zones = ("UTC", "Australia/Sydney", "America/New_York")
        for number, case in enumerate(lines("cron-sample.jsonl")[::EVERY]):
            dialect = ["--dialect", "quartz"] if case["dialect"] == "quartz" else []
            answer = self.next(case["expr"], "-n", "10", "--from", case["after"], "--timezone", case["tz"], "-o",
                               "json", *dialect, TZ=zones[number % len(zones)])
            self.assertEqual(0, answer.code, answer)
            self.assertEqual(case["next"], json.loads(answer.out)[:max(1, len(case["next"]))], case)

    def test_bad_expressions_exit_1_with_a_column_and_print_nothing(self):
        for case in lines("cron-bad-sample.jsonl")[::4]:
            answer = self.next(case["expr"], "-o", "json")
            self.assertEqual(1, answer.code, (case, answer))
            self.assertEqual("", answer.out)
            self.assertRegex(answer.err, r"^cronsched: column \d+: ")

    def test_the_fault_is_marked_and_nothing_reaches_the_terminal(self):
        answer = self.next("0 24 * * *")
        self.assertEqual("cronsched: column 3: hour 24 is out of range: 0-23 are allowed\n  0 24 * * *\n    ^\n",
                         answer.err)
        answer = self.next("-1 * * * *")  # no option
        self.assertEqual((1, True), (answer.code, answer.err.startswith("cronsched: column 1: minute: ")), answer)
        self.assertNotIn("\x1b", self.next("0 0 \x1b[31m * *").err)
        self.assertNotIn("\x1b", self.next("TZ=\x1b[31m 0 0 * * *").err)

    def test_a_schedule_that_never_fires_is_valid_and_noted(self):
        answer = self.next("0 0 30 2 *", "-o", "json", "--from", "2026-01-01T00:00:00Z")
        self.assertEqual((0, "[]\n"), (answer.code, answer.out))
        self.assertEqual("cronsched: it never fires after 2026-01-01T00:00:00Z\n", answer.err)
        answer = self.next("@at 2026-12-24T18:00:00Z", "-o", "json", "--from", "2026-01-01T00:00:00Z")
        self.assertEqual((["2026-12-24T18:00:00Z"], ""), (json.loads(answer.out), answer.err))

    def test_the_text_says_what_it_means_and_what_the_clock_does(self):
        answer = self.next("30 2 * * *", "--timezone", "Europe/Paris", "--from", "2026-03-28T12:00:00Z", "-n", "2")
        first, second, third = answer.out.splitlines()
        self.assertEqual("at 02:30 every day, Europe/Paris", first)
        self.assertRegex(second, r"^2026-03-29T03:00:00\+02:00  .*  moved: the clock skips its time$")
        self.assertRegex(third, r"^2026-03-30T02:30:00\+02:00  ")
        answer = self.next("30 * * * *", "--timezone", "Europe/Paris", "--from", "2026-10-25T00:00:00Z", "-n", "3")
        self.assertEqual(["first time", "second time"],
                         [line.split(": ")[1] for line in answer.out.splitlines() if ": " in line])
        self.assertIn("the same as: 15 10 * * 1-5\n", self.next("quartz:0 15 10 ? * 2-6").out)

    def test_the_policies_differ(self):
        where = ["--timezone", "America/New_York", "--from", "2025-03-08T12:00:00Z", "-n", "1", "-o", "json"]
        for policy, wanted in (("hybrid", "2025-03-09T07:00:00Z"), ("skip", "2025-03-10T06:30:00Z"),
                               ("both", "2025-03-10T06:30:00Z"), ("utc", "2025-03-09T02:30:00Z")):
            self.assertEqual([wanted], json.loads(self.next("30 2 * * *", "--dst", policy, *where).out))

    def test_a_time_without_an_offset_is_one_of_the_schedules_zone(self):
        answer = self.next("0 12 * * *", "--timezone", "Asia/Tokyo", "--from", "2026-01-01T11:59:00", "-n", "1", "-o",
                           "json", TZ="America/New_York")
        self.assertEqual(["2026-01-01T03:00:00Z"], json.loads(answer.out))

    def test_parts_of_a_second_are_dropped_after_comparing(self):
        for start in ("2026-01-01T12:00:00Z", "2026-01-01T12:00:00.5Z"):
            answer = self.next("0 12 * * *", "--from", start, "-n", "1", "-o", "json")
            self.assertEqual(["2026-01-02T12:00:00Z"], json.loads(answer.out))

    def test_days_off_by_date_and_by_calendar(self):
        calendar = self.folder.write("holidays.ics", CALENDAR)
        words = ["--from", "2026-12-23T12:00:00Z", "-n", "3", "-o", "json", "--except", "2026-12-28/2026-12-31"]
        answer = self.next("0 0 * * *", *words, "--except", calendar)
        self.assertEqual(["2026-12-24T00:00:00Z", "2026-12-26T00:00:00Z", "2026-12-27T00:00:00Z"],
                         json.loads(answer.out))
        broken = self.folder.write("broken.ics", "BEGIN:VCALENDAR\nnonsense\n")
        answer = self.next("0 0 * * *", "--except", broken)
        self.assertEqual(2, answer.code)
        self.assertIn("broken.ics:2: a line without ':'", answer.err)

    def test_a_job_file_finds_its_calendar_beside_it(self):
        self.folder.write("holidays.ics", CALENDAR)
        path = self.folder.write("jobs.yaml", "jobs:\n  a: {schedule: \"@daily\", except: [holidays.ics], image: x}\n")
        answer = self.cli().call("validate", path)
        self.assertEqual((0, ""), (answer.code, answer.err), answer)
        os.unlink(self.folder.join("holidays.ics"))
        answer = self.cli().call("validate", path)
        self.assertEqual(1, answer.code)
        self.assertIn("jobs.yaml:2:36: error: except: holidays.ics: cannot be read: No such file", answer.err)

    def test_wrong_usage_exits_2(self):
        cli = self.cli()
        for words in ([], ["0", "2", "*", "*", "*"], ["0 2 * * *", "--job", "x"], ["0 2 * * *", "-n", "x"],
                      ["0 2 * * *", "--timezone", "Mars/Olympus"], ["0 2 * * *", "--dst", "sometimes"],
                      ["0 2 * * *", "--from", "soon"], ["0 2 * * *", "--start", "2026-13-01"],
                      ["0 2 * * *", "--except", "2026-02-30"], ["--job", "x", "--dst", "skip"]):
            answer = cli.call("next", *words)
            self.assertEqual(2, answer.code, answer)
            self.assertEqual("", answer.out)
        self.assertIn("did you mean 'Europe/Paris'?", cli.call("next", "@daily", "--timezone", "Europe/Pariss").err)

    def test_a_zone_folder_of_the_callers_is_used(self):
        answer = self.next("@daily", "--timezone", "Europe/Paris", TZDIR=self.folder.make("empty"))
        self.assertEqual(2, answer.code)
        self.assertIn("unknown time zone 'Europe/Paris'", answer.err)

    def defs(self):
        job = {"schedule": "30 2 * * *", "timezone": "Europe/Paris", "engine": "process", "command": ["x"]}
        hand = {"engine": "process", "command": ["x"]}
        return {"index": 7, "jobs": {"nightly": {"def": job, "seed": 1, "anchor": 1760000000000},
                                     "by-hand": {"def": hand, "seed": 1, "anchor": 1760000000000}}}

    def test_a_job_of_the_server(self):
        fake = Fake(self).on("GET", "/v1/defs", self.defs())
        cli = self.cli(fake.url)
        self.assertEqual(["2026-03-29T01:00:00Z"],
                         cli.json("next", "--job", "nightly", "--from", "2026-03-28T12:00:00Z", "-n", "1"))
        self.assertEqual(3, cli.call("next", "--job", "nobody").code)
        self.assertEqual(2, cli.call("next", "--job", "by-hand").code)

    def test_the_report_names_every_job_that_a_change_touches(self):
        path = self.folder.write("jobs.yaml", JOBS)
        cli = self.cli()
        found = cli.json("dst-report", "--year", "2026", path)
        self.assertEqual([("nightly", "2026-03-29T01:00:00Z", "moved", "2026-03-29T02:30:00", 1),
                          ("often", "2026-03-29T01:00:00Z", "lost", "2026-03-29T02:00:00", 4),
                          ("nightly", "2026-10-25T01:00:00Z", "once", "2026-10-25T02:30:00", 1),
                          ("often", "2026-10-25T01:00:00Z", "twice", "2026-10-25T02:00:00", 4)],
                         [(f["job"], f["change_at"], f["effect"], f["wall_time"], f["count"]) for f in found])
        self.assertEqual(("+01:00", "+02:00", "Europe/Paris"), tuple(found[0][k] for k in ("before", "after",
                                                                                         "timezone")))
        answer = cli.call("dst-report", "--year", "2026", path)
        self.assertIn("2026-10-25 02:00 and 3 more", answer.out)
        self.assertEqual(5, len(answer.out.splitlines()))
        fake = Fake(self).on("GET", "/v1/defs", self.defs())
        self.assertEqual(["nightly", "nightly"], [f["job"] for f in self.cli(fake.url).json("dst-report", "-y", "2027")])

    def test_a_plan_names_the_changes_that_touch_a_job(self):
        fake = Fake(self).on("GET", "/v1/defs", {"index": 1, "jobs": {}})
        fake.on("POST", "/v1/apply", {"index": 1, "created": ["calm", "nightly"], "changed": [], "deleted": [],
                                      "unchanged": 0, "warnings": []})
        path = self.folder.write("jobs.yaml", JOBS)
        answer = self.cli(fake.url).call("plan", path)
        self.assertEqual(1, answer.code, answer)
        self.assertIn(answer.out.count("    clock change: "), (2, 3))  # a year can hold three of them
        self.assertRegex(answer.out, r"clock change: \d+-03-\d+ 02:30 is skipped by the clock: runs at the change\n")
        self.assertRegex(answer.out, r"clock change: \d+-10-\d+ 02:30 is shown twice: runs the first time\n")
        created = self.cli(fake.url).call("plan", path, "-o", "json").json()["created"]
        found = {job["job"]: len(job["clock_changes"]) for job in created}
        self.assertEqual(0, found["calm"])
        self.assertIn(found["nightly"], (2, 3))

    def test_a_report_of_broken_files_exits_1_and_of_nothing_says_so(self):
        broken = self.folder.write("broken.yaml", JOBS + "  bad: {schedule: \"0 24 * * *\", command: [x]}\n")
        answer = self.cli().call("dst-report", "--year", "2026", broken)
        self.assertEqual(1, answer.code)
        self.assertIn("hour 24 is out of range", answer.err)
        calm = self.folder.write("calm.yaml", "jobs:\n  calm: {schedule: \"@daily\", engine: process, command: [x]}\n")
        answer = self.cli().call("dst-report", "--year", "2026", calm)
        self.assertEqual((0, "No clock change affects a job in 2026.\n"), (answer.code, answer.out))


if __name__ == "__main__":
    lab.main()
