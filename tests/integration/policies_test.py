#!/usr/bin/python3
"""What a job's policies do, seen from outside: real processes, a ledger that they write themselves, real seconds."""

import os
import re
import signal
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lab"))
import lab  # noqa: E402

EVERY_SECOND = "* * * * * *"


def at(seconds_ahead):
    """A schedule that fires once, so many whole seconds from now; and that instant."""
    t = int(time.time()) + seconds_ahead
    return f"@at {lab.instant(t)}", t


class Policies(lab.Suite):
    side_by_side = 3

    def setUp(self):
        super().setUp()
        self.ledger = lab.Ledger(self.folder)

    def begin(self, jobs, **config):
        server = self.server(config=config)
        server.start()
        server.apply(jobs)
        return server

    def job(self, body="true", **keys):
        return self.ledger.process_job(body, **keys)

    def starts(self):
        return [x for x in self.ledger.lines() if x.what == "start"]

    def verdicts(self, server, job):
        """{verdict: count} of the job's runs and skips that have one; a skip may be a range."""
        counts = {}
        for run in server.cli.runs(job):
            if run["verdict"]:
                counts[run["verdict"]] = counts.get(run["verdict"], 0) + run.get("count", 1)
        return counts

    def overlapping(self):
        """Runs that were alive at the same time, by the ledger's own clock."""
        most = alive = 0
        for x in sorted(self.ledger.lines(), key=lambda x: x.up):
            alive += 1 if x.what == "start" else -1
            most = max(most, alive)
        return most

    # --- overlap

    def test_forbid_skips_what_comes_while_busy(self):
        server = self.begin({"j": self.job("sleep 2.5", schedule=EVERY_SECOND)})
        lab.wait_for(lambda: self.verdicts(server, "j").get("succeeded", 0) >= 2, 30, "two runs")
        seen = self.verdicts(server, "j")
        self.assertEqual(1, self.overlapping())
        self.assertGreaterEqual(seen.get("overlap", 0), 2, seen)

    def test_work_that_lost_its_supervisor_is_ended_before_the_next_start(self):
        """The command's first process dies with its supervisor; its child does not, and is heard of no more."""
        def body(name):
            child = self.folder.join(name)
            alive = f"grep -qs '^State:.[^ZX]' /proc/$(cat {child})/status"
            return (f"if [ -s {child} ] && {alive}; then echo beside >>{beside}; fi; "
                    f"sleep 53 & echo $! >{child}; kill -9 $PPID; wait")
        beside = self.folder.join("beside")
        server = self.begin({"j": self.job(body("j"), schedule=EVERY_SECOND),
                             "again": self.job(body("again"), on_lost="rerun")})
        again = server.cli.trigger("again")
        lab.wait_for(lambda: self.verdicts(server, "j").get("lost", 0) >= 3, 30, "three lost runs")
        self.assertEqual("lost", server.cli.wait_end(again)["verdict"])
        self.assertFalse(os.path.exists(beside))
        lost = [run for run in server.cli.runs("j") if run["verdict"] == "lost"]
        self.assertIn("what still ran of the command was killed", lost[0]["text"])

    def test_forbid_refuses_a_trigger_while_busy_and_queues_it_when_asked(self):
        server = self.begin({"j": self.job("sleep 2")})
        first = server.cli.trigger("j")
        lab.wait_for(lambda: self.ledger.starts(first), 20, "the first start")
        self.assertEqual(6, server.cli.call("trigger", "j").code)
        second = server.cli.trigger("j", "--queue")
        self.assertEqual("succeeded", server.cli.wait_end(second)["verdict"])
        self.assertEqual("succeeded", server.cli.wait_end(first)["verdict"])
        self.assertEqual(1, self.overlapping())

    def test_allow_lets_runs_overlap(self):
        server = self.begin({"j": self.job("sleep 2.5", schedule=EVERY_SECOND, concurrency="allow")})
        lab.wait_for(lambda: self.overlapping() >= 2, 30, "an overlap")
        self.assertNotIn("overlap", self.verdicts(server, "j"))

    def test_replace_ends_the_old_one_before_the_new_one_starts(self):
        server = self.begin({"j": self.job("sleep 30", concurrency="replace", stop_grace="1s")})
        first = server.cli.trigger("j")
        lab.wait_for(lambda: self.ledger.starts(first), 20, "the first start")
        second = server.cli.trigger("j")
        self.assertEqual("killed", server.cli.wait_end(first)["verdict"])
        lab.wait_for(lambda: self.ledger.starts(second), 20, "the second start")
        old, new = server.cli.run(first), server.cli.run(second)
        self.assertLessEqual(lab.parse_instant(old["ended"]), lab.parse_instant(new["started"]))
        server.cli.check("kill", second)

    def test_queue_runs_them_one_after_the_other_up_to_its_bound(self):
        server = self.begin({"j": self.job("sleep 2", concurrency="queue", queue_max=2)})
        runs = [server.cli.trigger("j") for _ in range(3)]
        self.assertNotEqual(0, server.cli.call("trigger", "j").code)  # one runs, two wait: full
        for run in runs:
            self.assertEqual("succeeded", server.cli.wait_end(run)["verdict"])
        self.assertEqual(1, self.overlapping())
        self.assertEqual(runs, [x.run for x in self.starts()])

    def test_a_full_queue_skips_fire_times(self):
        server = self.begin({"j": self.job("sleep 4", schedule=EVERY_SECOND, concurrency="queue", queue_max=1)})
        lab.wait_for(lambda: self.verdicts(server, "j").get("queue-full", 0) >= 1, 30, "a full queue")
        self.assertEqual(1, self.overlapping())

    def test_a_pool_bounds_runs_of_many_jobs_and_priority_orders_them(self):
        server = self.begin({
            "first": self.job("sleep 2", pool={"name": "one"}),
            "low": self.job(pool={"name": "one"}, priority=10),
            "high": self.job(pool={"name": "one"}, priority=90),
        }, pools={"one": 1})
        first = server.cli.trigger("first")
        lab.wait_for(lambda: self.ledger.starts(first), 20, "the first start")
        low, high = server.cli.trigger("low"), server.cli.trigger("high")
        for run in (low, high):
            self.assertEqual("succeeded", server.cli.wait_end(run)["verdict"])
        self.assertEqual([first, high, low], [x.run for x in self.starts()])
        self.assertEqual(1, self.overlapping())

    def test_a_queued_run_in_line_for_a_pool_lets_its_jobs_scheduled_one_pass(self):
        """The queued one stood first in line and waited for the scheduled one, which stood behind it: for ever."""
        server = self.begin({"busy": self.job("sleep 7", pool={"name": "one"}), "j": self.job(pool={"name": "one"})},
                            pools={"one": 1})
        busy = server.cli.trigger("busy")
        lab.wait_for(lambda: self.ledger.starts(busy), 20, "the first start")
        queued, at = server.cli.trigger("j", "--queue"), int(time.time()) + 3
        server.apply({"busy": self.job("sleep 7", pool={"name": "one"}),
                      "j": self.job(pool={"name": "one"}, schedule=f"@at {lab.instant(at)}")})
        scheduled = lab.run_id("j", at)
        for run in (scheduled, queued):
            self.assertEqual("succeeded", server.cli.wait_end(run, 40)["verdict"])
        self.assertEqual(1, self.overlapping())

    # --- failing and stopping

    def test_retries_back_off_and_end_with_success(self):
        body = "[ $CRONSCHED_ATTEMPT -ge 3 ]"
        server = self.begin({"j": self.job(body, retries={"max": 3, "delay": "1s", "backoff": 2})})
        run = server.cli.wait_end(server.cli.trigger("j"))
        self.assertEqual("succeeded", run["verdict"])
        self.assertEqual([1, 1, 0], [a["exit_code"] for a in run["attempts"]])
        ups = [x.up for x in self.starts()]
        self.assertGreaterEqual(ups[1] - ups[0], 0.98)
        self.assertGreaterEqual(ups[2] - ups[1], 1.98)

    def test_retries_end_when_they_are_used_up(self):
        server = self.begin({"j": self.job("exit 3", retries={"max": 2, "delay": "1s", "backoff": 1})})
        run = server.cli.wait_end(server.cli.trigger("j"))
        self.assertEqual(("failed", 3), (run["verdict"], run["exit_code"]))
        self.assertEqual(3, len(self.starts()))

    def test_only_the_named_exit_codes_are_tried_again(self):
        server = self.begin({"j": self.job("exit 1", retries={"max": 3, "delay": "1s", "on_exit": [75]})})
        self.assertEqual("failed", server.cli.wait_end(server.cli.trigger("j"))["verdict"])
        self.assertEqual(1, len(self.starts()))

    def test_a_retry_survives_a_crash_during_its_backoff(self):
        body = "[ $CRONSCHED_ATTEMPT -ge 2 ]"
        server = self.begin({"j": self.job(body, retries={"max": 1, "delay": "3s"})})
        run = server.cli.trigger("j")
        lab.wait_for(lambda: (server.cli.run(run) or {}).get("state") == "retrying", 20, "the backoff")
        server.kill()
        server.start()
        self.assertEqual("succeeded", server.cli.wait_end(run)["verdict"])
        self.assertEqual(2, len(self.starts()))

    def test_timeout_stops_an_attempt(self):
        server = self.begin({"j": self.job("sleep 60", timeout="1s", stop_grace="1s")})
        run = server.cli.wait_end(server.cli.trigger("j"), 20)
        self.assertEqual("timed-out", run["verdict"])

    def test_stop_grace_gives_time_to_end_well_and_then_kills(self):
        server = self.begin({
            "tidy": {"engine": "process", "timeout": "1s", "stop_grace": "20s",
                     "command": ["sh", "-c", f"trap 'echo tidied > {self.folder.join('tidied')}; exit 0' TERM; "
                                             "while :; do sleep 0.1; done"]},
            "deaf": {"engine": "process", "timeout": "1s", "stop_grace": "1s",
                     "command": ["sh", "-c", "trap '' TERM; while :; do sleep 0.1; done"]},
        })
        tidy, deaf = server.cli.trigger("tidy"), server.cli.trigger("deaf")
        self.assertEqual("timed-out", server.cli.wait_end(tidy, 20)["verdict"])
        self.assertEqual("tidied\n", self.folder.read("tidied"))
        self.assertEqual("timed-out", server.cli.wait_end(deaf, 20)["verdict"])

    def test_kill_ends_a_run_and_all_it_started(self):
        server = self.begin({"j": self.job("sleep 61 & sleep 62", stop_grace="1s")})
        run = server.cli.trigger("j")
        lab.wait_for(lambda: self.ledger.starts(run), 20, "the start")
        server.cli.check("kill", run)
        self.assertEqual("killed", server.cli.wait_end(run, 20)["verdict"])
        lab.wait_for(lambda: not [p for p in lab.processes_of(self.folder.path)
                                  if b"sleep" in open(f"/proc/{p}/cmdline", "rb").read()], 10, "the children to end")

    def test_a_waiting_run_can_be_killed(self):
        server = self.begin({"j": self.job("sleep 3", concurrency="queue")})
        first, second = server.cli.trigger("j"), server.cli.trigger("j")
        server.cli.check("kill", second)
        self.assertEqual("killed", server.cli.wait_end(second)["verdict"])
        self.assertEqual("succeeded", server.cli.wait_end(first)["verdict"])
        self.assertEqual(1, len(self.starts()))

    def test_a_missing_command_is_explained(self):
        server = self.begin({"j": {"engine": "process", "command": ["/no/such/program"]}})
        run = server.cli.wait_end(server.cli.trigger("j"))
        self.assertEqual(("failed", 127), (run["verdict"], run["exit_code"]))
        text = server.cli.check("run", run["run"], "-o", "json").out
        self.assertIn("no such command", text)
        self.assertIn("/no/such/program", text)

    def lose(self, on_lost):
        """Kills supervisor and all of a running attempt without a word to the server."""
        server = self.begin({"j": self.job("[ $CRONSCHED_ATTEMPT -ge 2 ] || sleep 60", on_lost=on_lost,
                                           retries={"delay": "1s"})})
        run = server.cli.trigger("j")
        lab.wait_for(lambda: self.ledger.starts(run), 20, "the start")
        lab.wait_for(lambda: server.cli.run(run)["state"] == "running", 20, "the state running")
        for pid in lab.processes_of(self.folder.path):
            if pid != server.process.pid:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
        return server.cli.wait_end(run, 30)

    def test_an_attempt_that_vanishes_is_lost(self):
        run = self.lose("fail")
        self.assertEqual("lost", run["verdict"])
        self.assertEqual(1, len(self.starts()))

    def test_on_lost_rerun_tries_again(self):
        run = self.lose("rerun")
        self.assertEqual("succeeded", run["verdict"])
        self.assertEqual([1, 2], [x.attempt for x in self.starts()])

    # --- time

    def outage(self, seconds=5, **keys):
        """A job of every second lives through an outage that is longer than late_grace. (server, first, last fire
        time of the outage)"""
        server = self.begin({"j": self.job(schedule=EVERY_SECOND, concurrency="allow", **keys)}, late_grace="1s")
        lab.wait_for(lambda: len(self.starts()) >= 2, 20, "two starts")
        server.kill()
        last_start = max(x.run for x in self.starts())
        lab.quiet_for(seconds)
        server.start()
        back = time.time()
        lab.wait_for(lambda: len([x for x in self.starts() if x.wall > back]) >= 2, 20, "starts after the outage")
        down_from = lab.parse_instant(re.sub(r".*@(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z", r"\1-\2-\3T\4:\5:\6Z",
                                             last_start)) + 1
        return server, int(down_from), int(back) - 2

    def assert_audited(self, server, since):
        answer = server.cli.audit(lab.instant(since), lab.instant(int(time.time()) - 2))
        self.assertEqual(0, answer.code, answer)
        self.assertNone(lab.Checker(self.ledger).strict().doubles())

    def test_catch_up_latest_runs_one_and_says_so_of_the_others(self):
        server, first, _ = self.outage()
        self.assertGreaterEqual(self.verdicts(server, "j").get("coalesced", 0), 2)
        # The leader decides once the runs that were under way are settled, so only the skips show which time is the
        # latest: the one that follows them.
        skipped = max((r for r in server.cli.runs("j") if r["verdict"] == "coalesced"), key=lambda r: r["fire_time"])
        last = int(lab.parse_instant(skipped["fire_time"]))  # of as many as its count says
        self.assertEqual(1, self.ledger.starts(lab.run_id("j", last + 1)))
        self.assertNone(lab.run_id("j", t) for t in lab.every_second(last - skipped.get("count", 1) + 1, last)
                        if self.ledger.starts(lab.run_id("j", t)))
        self.assert_audited(server, first - 2)

    def test_catch_up_none_runs_none(self):
        server, first, _ = self.outage(catch_up="none")
        self.assertGreaterEqual(self.verdicts(server, "j").get("missed", 0), 3)
        self.assertEqual(0, self.ledger.starts(lab.run_id("j", first)))
        self.assert_audited(server, first - 2)

    def test_catch_up_all_runs_all(self):
        server, first, last = self.outage(catch_up="all")
        lab.wait_for(lambda: all(self.ledger.starts(lab.run_id("j", t)) for t in lab.every_second(first, last)), 20,
                     "every fire time of the outage")
        self.assert_audited(server, first - 2)

    def test_catch_up_all_is_bounded(self):
        server, first, last = self.outage(seconds=9, catch_up="all", max_catch_up=2)
        ran = [t for t in lab.every_second(first, last - 1) if self.ledger.starts(lab.run_id("j", t))]
        self.assertLessEqual(len(ran), 5)  # two, and those within late_grace of the start
        self.assert_audited(server, first - 2)

    def test_what_is_a_little_late_still_runs(self):
        server = self.begin({"j": self.job(schedule=EVERY_SECOND, concurrency="allow")})  # late_grace is 60 s
        lab.wait_for(lambda: len(self.starts()) >= 2, 20, "two starts")
        server.kill()
        lab.quiet_for(3)
        server.start()
        now = int(time.time())
        lab.wait_for(lambda: all(self.ledger.starts(lab.run_id("j", t)) for t in lab.every_second(now - 3, now)), 20,
                     "the fire times of the outage")
        self.assertNone(lab.Checker(self.ledger).strict().problems)

    def test_start_within_gives_up_after_its_deadline(self):
        server = self.begin({"j": self.job("sleep 4", schedule=EVERY_SECOND, concurrency="queue",
                                           start_within="2s")})
        lab.wait_for(lambda: self.verdicts(server, "j").get("deadline", 0) >= 1, 30, "a deadline")
        latest = max(x.wall - lab.parse_instant(server.cli.run(x.run)["fire_time"]) for x in self.starts())
        self.promised("start at a fire time", latest - 2, server, ceiling_s=2)  # a job of 4 s would be waited for

    def test_a_pause_ends_by_itself_and_its_fire_times_are_accounted_for(self):
        server = self.begin({"j": self.job(schedule=EVERY_SECOND, concurrency="allow")})
        lab.wait_for(lambda: len(self.starts()) >= 1, 20, "a start")
        until = int(time.time()) + 5
        server.cli.check("pause", "j", "--until", lab.instant(until), "--reason", "maintenance of the lab")
        paused_at = time.time()
        self.assertTrue(server.cli.json("show", "j")["paused"])
        lab.wait_for(lambda: [x for x in self.starts() if x.wall > until], 20, "a start after the pause")
        quiet = [x for x in self.starts() if paused_at + 0.5 < x.wall < until - 0.5]
        self.assertEqual([], quiet)
        lab.wait_for(lambda: self.verdicts(server, "j").get("paused", 0) >= 3, 10, "the skipped fire times")
        self.assert_audited(server, int(paused_at) - 1)

    def test_pause_all_and_resume_all(self):
        server = self.begin({n: self.job(schedule=EVERY_SECOND, concurrency="allow") for n in ("a", "b")})
        server.cli.check("pause", "--all", "--reason", "lunch")
        paused_at = time.time()
        lab.quiet_for(2.5)
        self.assertEqual([], [x for x in self.starts() if x.wall > paused_at + 0.5])
        server.cli.check("resume", "--all")
        lab.wait_for(lambda: {x.run.split("@")[0] for x in self.starts() if x.wall > paused_at + 2} == {"a", "b"}, 20,
                     "starts of both")

    def test_a_trigger_on_a_paused_job_is_allowed(self):
        server = self.begin({"j": self.job(schedule="@yearly", paused=True)})
        self.assertEqual("succeeded", server.cli.wait_end(server.cli.trigger("j"))["verdict"])

    def test_jitter_delays_within_its_bound_and_is_stable(self):
        schedule, t = at(3)
        jobs = {f"j{i}": self.job(schedule=schedule, jitter="3s") for i in range(12)}
        server = self.begin(jobs)
        lab.wait_for(lambda: len(self.starts()) == 12, 30, lambda: f"12 starts, not {len(self.starts())}")
        late = sorted(x.wall - t for x in self.starts())
        self.assertGreaterEqual(late[0], -0.05)
        self.promised("start at a fire time", late[-1] - 3, server, ceiling_s=10)
        self.assertGreater(late[-1] - late[0], 0.5, late)  # they are spread
        for job in jobs:
            self.assertEqual(lab.instant(t), server.cli.run(lab.run_id(job, t))["fire_time"])

    def test_excluded_days_and_windows_are_not_fire_times(self):
        today = time.strftime("%Y-%m-%d", time.gmtime())
        tomorrow = time.strftime("%Y-%m-%d", time.gmtime(time.time() + 86400))
        server = self.begin({
            "off": self.job(schedule=EVERY_SECOND, **{"except": [today]}),
            "later": self.job(schedule=EVERY_SECOND, start=tomorrow),
            "over": self.job(schedule=EVERY_SECOND, end="2020-01-01"),
        })
        lab.quiet_for(2)
        found = {j["job"]: j["next"] for j in server.cli.json("jobs")}
        self.assertTrue(found["off"].startswith(tomorrow), found)
        self.assertTrue(found["later"].startswith(tomorrow), found)
        self.assertIsNone(found["over"])
        self.assertEqual([], self.starts())

    def test_at_fires_once_at_its_time(self):
        schedule, t = at(2)
        server = self.begin({"j": self.job(schedule=schedule)})
        run = server.cli.wait_end(lab.run_id("j", t), 20)
        self.assertEqual("succeeded", run["verdict"])
        self.promised("start at a fire time", self.starts()[0].wall - t, server, ceiling_s=5)
        self.assertGreaterEqual(self.starts()[0].wall, t - 0.02)
        self.assertEqual(1, len(self.starts()))

    def test_a_new_job_does_not_catch_up_on_the_past(self):
        server = self.begin({"past": self.job(schedule=f"@at {lab.instant(time.time() - 3600)}"),
                             "anchored": self.job(schedule="R/2020-01-01T00:00:00Z/P1D", catch_up="all")})
        lab.quiet_for(1)
        self.assertEqual([], server.cli.runs())
        self.assertEqual([], self.starts())

    # --- chains, triggers, backfill

    def test_after_runs_when_all_parents_have_succeeded(self):
        schedule, t = at(2)
        server = self.begin({
            "a": self.job("sleep 1", schedule=schedule),
            "b": self.job(schedule=schedule),
            "c": self.job(after=["a", "b"]),
            "d": self.job(after=["c"]),
        })
        lab.wait_for(lambda: len(self.starts()) == 4, 30, lambda: f"4 starts, not {self.starts()}")
        lines = self.ledger.lines()
        order = [f"{x.what} {x.run.split('@')[0]}" for x in lines]
        self.assertLess(order.index("end a"), order.index("start c"))
        self.assertLess(order.index("end b"), order.index("start c"))
        self.assertLess(order.index("end c"), order.index("start d"))
        child = next(x.run for x in lines if x.run.startswith("d@"))
        self.assertEqual("succeeded", server.cli.wait_end(child)["verdict"])

    def test_after_waits_for_a_parent_that_failed(self):
        server = self.begin({"a": self.job("false"), "b": self.job(after=["a"])})
        run = server.cli.trigger("a", "--with-children")
        self.assertEqual("failed", server.cli.wait_end(run)["verdict"])
        lab.quiet_for(1)
        self.assertEqual(["a"], [x.run.split("@")[0] for x in self.starts()])

    def test_a_manual_parent_counts_only_with_children(self):
        server = self.begin({"a": self.job(), "b": self.job(after=["a"])})
        server.cli.wait_end(server.cli.trigger("a"))
        lab.quiet_for(1)
        self.assertEqual(1, len(self.starts()))
        server.cli.trigger("a", "--with-children")
        lab.wait_for(lambda: len(self.starts()) == 3, 20, "the child")

    def test_params_reach_the_attempt(self):
        out = self.folder.join("params")
        server = self.begin({"j": {"engine": "process",
                                   "command": ["sh", "-c", f'echo "$CRONSCHED_PARAM_DAY" > {out}']}})
        run = server.cli.trigger("j", "--param", "day=two words, $HOME")
        self.assertEqual("succeeded", server.cli.wait_end(run)["verdict"])
        self.assertEqual("two words, $HOME\n", self.folder.read("params"))

    def test_every_attempt_is_told_who_it_is(self):
        out = self.folder.join("env")
        schedule, t = at(2)
        server = self.begin({"j": {"engine": "process", "schedule": schedule, "environment": {"MINE": "yes"},
                                   "command": ["sh", "-c", f"env > {out}.tmp; mv {out}.tmp {out}"]}})
        server.cli.wait_end(lab.run_id("j", t), 20)
        env = dict(line.split("=", 1) for line in self.folder.read("env").splitlines() if "=" in line)
        self.assertEqual("j", env["CRONSCHED_JOB"])
        self.assertEqual(lab.run_id("j", t), env["CRONSCHED_RUN"])
        self.assertEqual("1", env["CRONSCHED_ATTEMPT"])
        self.assertEqual(lab.instant(t), env["CRONSCHED_FIRE_TIME"])
        self.assertEqual("schedule", env["CRONSCHED_CAUSE"])
        self.assertEqual("yes", env["MINE"])

    def test_trigger_waits_and_hands_on_the_exit_code(self):
        server = self.begin({"good": self.job(), "bad": self.job("exit 42")})
        self.assertEqual(0, server.cli.call("trigger", "good", "--wait").code)
        self.assertEqual(1, server.cli.call("trigger", "bad", "--wait").code)
        self.assertEqual(42, server.cli.call("trigger", "bad", "--wait", "--exit-code").code)

    def test_logs_are_kept(self):
        server = self.begin({"j": {"engine": "process", "command": ["sh", "-c", "echo to out; echo to err >&2"]}})
        run = server.cli.trigger("j")
        server.cli.wait_end(run)
        out = server.cli.check("logs", run).out
        self.assertIn("to out", out)
        self.assertIn("to err", out)

    def test_backfill_runs_past_fire_times_once(self):
        server = self.begin({"j": self.job(schedule="0 * * * *", catch_up="none")})
        span = ("--from", "2026-01-01T00:00:00Z", "--to", "2026-01-01T04:30:00Z")
        self.assertEqual(0, server.cli.call("backfill", "j", *span, "--dry-run").code)
        self.assertEqual([], self.starts())
        server.cli.check("backfill", "j", *span, "--max-parallel", "2")
        lab.wait_for(lambda: len(self.starts()) >= 4, 30, "the backfilled runs")
        lab.quiet_for(1)
        runs = sorted({x.run for x in self.starts()})
        self.assertIn("j@20260101T010000Z", runs)
        self.assertIn("j@20260101T040000Z", runs)
        count = len(self.starts())
        server.cli.check("backfill", "j", *span)
        lab.quiet_for(1.5)
        self.assertEqual(count, len(self.starts()))
        self.assertNone(lab.Checker(self.ledger).strict().problems)

    # --- definitions

    def test_apply_is_idempotent_and_plan_tells_changes(self):
        server = self.begin({"j": self.job(schedule="@daily")})
        path = self.folder.join("jobs.yaml")
        self.assertEqual(0, server.cli.call("plan", path).code)
        server.cli.check("apply", path)
        changed = self.folder.write("changed.yaml", open(path).read().replace("@daily", "@hourly"))
        self.assertEqual(1, server.cli.call("plan", changed).code)
        server.cli.check("apply", changed)
        self.assertEqual("@hourly", server.cli.json("jobs")[0]["schedule"])

    def test_prune_removes_only_what_its_own_set_owns(self):
        server = self.begin({"other": self.job()})
        server.apply({"a": self.job(), "b": self.job()}, "--set", "mine", name="mine.yaml")
        server.apply({"a": self.job()}, "--set", "mine", "--prune", name="mine.yaml")
        self.assertEqual({"a", "other"}, {j["job"] for j in server.cli.json("jobs")})

    def test_a_stale_check_index_is_a_conflict(self):
        server = self.begin({"j": self.job()})
        path = self.folder.join("jobs.yaml")
        self.assertEqual(6, server.cli.call("apply", path, "--check-index", "1").code)

    def test_an_edit_takes_effect_at_once_and_accounts_for_the_past(self):
        server = self.begin({"j": self.job(schedule=EVERY_SECOND, concurrency="allow")})
        began = int(time.time())
        lab.wait_for(lambda: len(self.starts()) >= 2, 20, "two starts")
        server.apply({"j": self.job(schedule="@yearly")})
        edited = time.time()
        lab.quiet_for(2.5)
        self.assertEqual([], [x for x in self.starts() if x.wall > edited + 0.3])
        self.assert_audited(server, began - 1)

    def test_a_deleted_job_fires_no_more_and_unknown_things_are_not_found(self):
        server = self.begin({"j": self.job(schedule=EVERY_SECOND, concurrency="allow")})
        lab.wait_for(lambda: self.starts(), 20, "a start")
        server.cli.check("delete", "j")
        deleted = time.time()
        lab.quiet_for(2)
        self.assertEqual([], [x for x in self.starts() if x.wall > deleted + 0.3])
        self.assertEqual(3, server.cli.call("show", "j").code)
        self.assertEqual(3, server.cli.call("trigger", "j").code)
        self.assertEqual(3, server.cli.call("run", "j@20200101T000000Z").code)


if __name__ == "__main__":
    lab.main()
