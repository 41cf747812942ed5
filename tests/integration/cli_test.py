#!/usr/bin/python3
"""The command line against a server that is made of a few lines of Python: what is sent, what is printed, which exit
codes come back, and what happens when servers are down, leaderless or silent."""

import json
import os
import re
import socket
import subprocess
import sys
import threading

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lab"))
import lab  # noqa: E402
from fake_server import Fake, Hangup, Stream  # noqa: E402

RUN = "nightly@20261122T030000Z"
ERRORS = {"invalid": (400, 2), "limit": (413, 2), "not-found": (404, 3), "denied": (403, 4), "conflict": (409, 6),
          "busy": (409, 6), "refused": (502, 5), "timeout": (504, 7), "full": (507, 64), "internal": (500, 64)}


def error(code, text="it is so"):
    return ERRORS.get(code, (503, 5))[0], {"error": {"code": code, "text": text}}


def run(verdict="succeeded", exit_code=0, state="ended", attempts=1):
    return {"run": RUN, "job": "nightly", "fire_time": "2026-11-22T03:00:00Z", "cause": "schedule", "state": state,
            "verdict": verdict, "started": "2026-11-22T03:00:00.012Z",
            "ended": "2026-11-22T03:00:12.500Z" if state == "ended" else None, "exit_code": exit_code,
            "attempts": [{"attempt": n + 1, "engine": "docker", "id": "ab" * 32,
                          "state": "running" if state == "running" and n + 1 == attempts else "ended", "started": None,
                          "ended": None, "exit_code": exit_code} for n in range(attempts)]}


class CommandLine(lab.Suite):
    def cli(self, *servers, **environment):
        home = {"HOME": self.folder.path, "XDG_STATE_HOME": "", "TZ": "UTC", "NO_COLOR": "", "CRONSCHED_DATA_DIR": "",
                "CRONSCHED_TOKEN_FILE": "", **environment}
        return lab.Cli(",".join(s if isinstance(s, str) else s.url for s in servers), home)

    def dead_url(self):
        """Nobody listens there, and nobody else can meanwhile."""
        bound = socket.socket()
        self.addCleanup(bound.close)
        bound.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{bound.getsockname()[1]}"

    def test_each_error_of_the_server_has_its_exit_code_and_its_text(self):
        fake = Fake(self)
        for code, (_, exit_code) in ERRORS.items():
            fake.on("GET", "/v1/jobs", error(code, f"told: {code}"))
            answer = self.cli(fake).call("jobs")
            self.assertEqual(exit_code, answer.code, answer)
            self.assertEqual(f"cronsched: told: {code}\n", answer.err)
            self.assertEqual("", answer.out)

    def test_answers_that_are_none_are_internal_errors(self):
        fake = Fake(self)
        for answer in ((200, b"<html>"), (200, b"{\"a\":1,\"a\":2}"), (500, b"oops"), (302, {})):
            fake.on("GET", "/v1/jobs", answer)
            got = self.cli(fake).call("jobs")
            self.assertEqual(64, got.code, got)
        fake.on("GET", "/v1/jobs", (401, b""))
        self.assertEqual(4, self.cli(fake).call("jobs").code)

    def test_a_server_that_answers_nothing_is_not_asked_for_long(self):
        fake = Fake(self).on("GET", "/v1/jobs", Hangup)
        answer = self.cli(fake).call("jobs", timeout=15)
        self.assertEqual(7, answer.code, answer)
        self.assertIn("the answer is lost", answer.err)

    def test_usage_errors_exit_2_and_send_nothing(self):
        fake = Fake(self)
        cli = self.cli(fake)
        for words in (["jobs", "extra"], ["show"], ["jobs", "--sorver", "x"], ["jobs", "-o", "xml"], ["jbos"], [],
                      ["pause"], ["pause", "j", "--all"], ["pause", "j", "--until", "soon"], ["audit"],
                      ["trigger", "j", "--param", "x"], ["trigger", "j", "--key", ""], ["runs", "--limit", "0"],
                      ["trigger", "j", "--timeout", "0s"], ["trigger", "j", "--follow", "-o", "json"],
                      ["backfill", "j", "--from", "2h"], ["logs", "r", "--tail", "-1"], ["completion", "fish"],
                      ["runs", "--state", "sleeping"], ["explain", "j", "someday"], ["help", "nothing"],
                      # bytes that are no UTF-8: dropping such a key would make two runs of one
                      ["trigger", "j", "--key", "\udcff"], ["trigger", "j", "-p", "a=\udcff"],
                      ["trigger", "j", "-p", "\udcff=a"], ["pause", "j", "--reason", "\udcff"]):
            answer = cli.call(*words)
            self.assertEqual(2, answer.code, answer)
            self.assertNotEqual("", answer.err)
        self.assertEqual([], fake.requests)
        self.assertIn("did you mean 'jobs'?", cli.call("jbos").err)
        self.assertIn("did you mean '--server'?", cli.call("jobs", "--sorver", "x").err)

    def test_no_server_exits_5_and_names_each_place_that_was_tried(self):
        dead = self.dead_url()
        answer = self.cli(f"unix:{self.folder.join('no.sock')}", dead).call("jobs")
        self.assertEqual(5, answer.code)
        self.assertIn("no.sock: No such file or directory", answer.err)
        self.assertIn(f"{dead}: Connection refused", answer.err)

    def test_the_default_server_is_the_socket_in_the_data_folder(self):
        state = self.folder.make("cronsched")
        fake = Fake(self, os.path.join(state, "cronsched.sock")).on("GET", "/v1/jobs", [])
        cli = self.cli("", CRONSCHED_DATA_DIR=state)
        self.assertEqual([], cli.json("jobs"))
        self.assertEqual(1, len(fake.requests))

    def test_no_port_is_asked_by_default(self):
        """Anybody may listen on a port while no server runs, and would be sent the token and the request."""
        cli = self.cli("", CRONSCHED_DATA_DIR=self.folder.make("nobody"))
        checks = json.loads(cli.call("doctor", "-o", "json").out)
        self.assertTrue(checks)
        for check in checks:
            self.assertRegex(check["check"], "^server unix:/")
        self.assertNotIn("127.0.0.1", cli.call("jobs").err)

    def test_a_token_is_not_sent_over_plain_http(self):
        fake = Fake(self).on("GET", "/v1/jobs", [], [])
        token = self.folder.write("token", "cs_secret\n")
        for environment in ({}, {"CRONSCHED_PLAIN_HTTP": "0"}):
            answer = self.cli(fake, CRONSCHED_TOKEN_FILE=token, **environment).call("jobs")
            self.assertEqual(4, answer.code, answer)
            self.assertIn(f"the token is not sent to {fake.url}, which is not encrypted", answer.err)
        self.assertEqual([], fake.requests)
        self.cli(fake).check("jobs", "--plain-http", "--token-file", token)
        self.cli(fake, CRONSCHED_TOKEN_FILE=token, CRONSCHED_PLAIN_HTTP="1").check("jobs")
        self.assertEqual(["Bearer cs_secret"] * 2, [r[4]["Authorization"] for r in fake.requests])
        fake = Fake(self, self.folder.join("s.sock")).on("GET", "/v1/jobs", [])
        self.cli(fake, CRONSCHED_TOKEN_FILE=token).check("jobs")
        self.assertEqual(["Bearer cs_secret"], [r[4]["Authorization"] for r in fake.requests])

    def test_the_next_server_is_asked_when_one_is_down_or_has_no_leader(self):
        lost, good = Fake(self).on("GET", "/v1/jobs", error("no-leader")), Fake(self).on("GET", "/v1/jobs", [])
        self.assertEqual([], self.cli(self.dead_url(), lost, good).json("jobs"))
        self.assertEqual((1, 1), (len(lost.requests), len(good.requests)))

    def test_a_leader_that_comes_later_is_waited_for(self):
        fake = Fake(self).on("POST", "/v1/jobs/j/pause", error("no-leader"), error("no-leader"), {"paused": True})
        answer = self.cli(fake).check("pause", "j", "--reason", "stock taking")
        self.assertEqual("j paused\n", answer.out)
        self.assertEqual([{"reason": "stock taking"}] * 3, [r[3] for r in fake.requests])

    def test_a_trigger_whose_answer_is_lost_is_sent_on_with_the_same_key(self):
        path = "/v1/jobs/nightly/trigger"
        first, second = Fake(self).on("POST", path, Hangup), Fake(self).on("POST", path, {"run": RUN, "existing": True})
        answer = self.cli(first, second).check("trigger", "nightly", "-p", "a=1", "-p", "b=x=y")
        self.assertEqual(f"{RUN}\n", answer.out)
        self.assertEqual("", answer.err)  # that it was there is nobody's business: the key is ours
        bodies = [r[3] for r in first.requests + second.requests]
        self.assertEqual(2, len(bodies))
        self.assertEqual(bodies[0], bodies[1])
        self.assertRegex(bodies[0]["key"], r"^[0-9a-f]{32}$")
        self.assertEqual({"a": "1", "b": "x=y"}, bodies[0]["params"])

    def test_a_server_that_died_over_a_trigger_is_given_time_to_come_back(self):
        path, run = "/v1/jobs/nightly/trigger", {"run": RUN, "existing": False}
        path_of_socket = self.folder.join("s.sock")
        first = Fake(self, path_of_socket).on("POST", path, Hangup)
        back = []

        def die_and_come_back():
            lab.wait_for(lambda: first.requests, 20, lambda: "the trigger", every=0.02)
            first.server.server_close()
            os.unlink(path_of_socket)
            back.append(Fake(self, path_of_socket).on("POST", path, run))

        thread = threading.Thread(target=die_and_come_back)
        thread.start()
        answer = self.cli(first).check("trigger", "nightly")
        thread.join()
        self.assertEqual(f"{RUN}\n", answer.out)
        self.assertEqual({r[3]["key"] for r in first.requests}, {r[3]["key"] for r in back[0].requests})

    def test_two_triggers_have_two_keys_and_a_given_key_is_kept(self):
        fake = Fake(self).on("POST", "/v1/jobs/j/trigger", {"run": RUN, "existing": True})
        cli = self.cli(fake)
        cli.check("trigger", "j")
        cli.check("trigger", "j")
        answer = cli.check("trigger", "j", "--key", "mine", "--queue", "--with-children")
        self.assertIn("the key was used before", answer.err)
        keys = [r[3]["key"] for r in fake.requests]
        self.assertEqual(3, len(set(keys)))
        self.assertEqual({"key": "mine", "queue": True, "with_children": True}, fake.requests[-1][3])

    def test_a_backfill_again_is_never_sent_twice(self):
        path = "/v1/jobs/j/backfill"
        first, second = Fake(self).on("POST", path, Hangup), Fake(self).on("POST", path, {"count": 0, "fire_times": []})
        span = ["--from", "2026-11-01", "--to", "2026-11-02T12:00:00+01:00"]
        answer = self.cli(first, second).call("backfill", "j", *span, "--again")
        self.assertEqual(7, answer.code, answer)
        self.assertEqual([], second.requests)
        self.cli(first, second).check("backfill", "j", *span)
        self.assertEqual({"from": "2026-11-01T00:00:00Z", "to": "2026-11-02T11:00:00Z", "max_parallel": 1,
                          "again": False, "dry_run": False}, second.requests[0][3])

    def test_a_delete_whose_answer_was_lost_is_done_when_the_job_is_gone(self):
        first, second = Fake(self).on("DELETE", "/v1/jobs/j", Hangup), Fake(self).on("DELETE", "/v1/jobs/j",
                                                                                    error("not-found"))
        self.assertEqual("j deleted\n", self.cli(first, second).check("delete", "j").out)
        self.assertEqual(3, self.cli(second).call("delete", "j").code)

    def test_the_token_is_shown_and_nothing_is_when_there_is_none(self):
        fake = Fake(self, self.folder.join("s.sock")).on("GET", "/v1/jobs", [])
        path = self.folder.write("token", "  cs_secret \nmore\n")
        self.cli(fake).check("jobs")
        self.cli(fake).check("jobs", "--token-file", path)
        self.cli(fake, CRONSCHED_TOKEN_FILE=path).check("jobs")
        shown = [r[4].get("Authorization") for r in fake.requests]
        self.assertEqual([None, "Bearer cs_secret", "Bearer cs_secret"], shown)
        self.assertEqual(3, self.cli(fake).call("jobs", "--token-file", path + "x").code)
        self.assertEqual(2, self.cli(fake).call("jobs", "--token-file", self.folder.write("none", "\n")).code)

    def test_jobs_as_table_json_and_yaml(self):
        jobs = [{"job": "a", "schedule": "0 3 * * *", "timezone": "UTC", "next": "2199-01-01T03:00:00Z",
                 "last": "2026-01-01T03:00:00Z", "verdict": "failed", "paused": False},
                {"job": "b", "schedule": "@daily", "timezone": "Europe/Paris", "next": None, "last": None,
                 "verdict": None, "paused": True},
                {"job": "c", "schedule": None, "timezone": "UTC", "next": None, "last": None, "verdict": None,
                 "paused": False}]
        fake = Fake(self).on("GET", "/v1/jobs", jobs)
        table = self.cli(fake, TZ="Europe/Paris").check("jobs").out.splitlines()
        self.assertEqual(["JOB", "NEXT", "LEFT", "LAST", "VERDICT", "SCHEDULE", "TIMEZONE"], table[0].split())
        self.assertRegex(table[1], r"^a +2199-01-01 04:00:00 CET +in \d+ d.* ago +failed +0 3 \* \* \* +UTC")
        self.assertRegex(table[2], r"^b +paused +- +- +- +@daily")
        self.assertRegex(table[3], r"^c +- +- +- +- +by trigger")
        self.assertEqual(jobs, self.cli(fake).json("jobs"))
        yaml = self.cli(fake).check("jobs", "-o", "yaml").out
        self.assertIn('next: "2199-01-01T03:00:00Z"\n', yaml)
        self.assertIn("verdict: null\n", yaml)
        self.assertEqual("No jobs.\n", self.cli(Fake(self).on("GET", "/v1/jobs", [])).check("jobs").out)

    def test_colours_come_when_asked_for_only(self):
        fake = Fake(self).on("GET", f"/v1/runs/{RUN}", run("failed", 3))
        self.assertNotIn("\033", self.cli(fake).check("run", RUN).out)
        self.assertIn("\033[31mfailed", self.cli(fake).check("run", RUN, "--color", "always").out)
        self.assertNotIn("\033", self.cli(fake).check("run", RUN, "--color", "always", "-o", "json").out)

    def test_text_of_a_job_cannot_steer_the_terminal(self):
        fake = Fake(self).on("GET", "/v1/jobs", [{"job": "a", "schedule": "x\033[2J\ny", "timezone": "UTC",
                                                  "next": None, "last": None, "verdict": None, "paused": False}])
        out = self.cli(fake).check("jobs").out
        self.assertNotIn("\033", out)
        self.assertEqual(2, len(out.splitlines()))

    BAD = ("x\x1b[31m\x07\x7f\r\x9b31m\x9d0;t\x9c\x85\u2028\u2029\u202e\u2066\u200f\u061c\xad\u034f\u200b\u200d\u2060\ufe0f\ufeff"
           "\ufff9\U0001d173\U000e0041y")

    def assertPrintable(self, text, what):
        """No control character, C1 included, no mark of direction, nothing invisible, no separator of lines but the
        newline."""
        found = re.search("[\0-\x08\x0b-\x1f\x7f-\x9f\xad\u034f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufe0f\ufeff\ufff9"
                          "\U0001d173\U000e0041]", text)
        self.assertIsNone(found, f"{what}: {text[max(0, found.start() - 40):found.end() + 20]!r}" if found else "")

    def test_no_text_of_a_server_steers_the_terminal_whatever_the_verb(self):
        bad = self.BAD
        evil = {**run("failed", 3), "run": RUN, "text": bad, "cause": bad, "job": bad, "by": bad, "key": bad,
                "reason": bad, "params": {bad: bad}, "time": "2026-11-22T03:00:00Z", "kind": bad, "fire_times": [bad],
                "schedule": bad, "timezone": bad, "next": bad, "paused": {"by": bad, "reason": bad, "text": bad},
                "def": {"schedule": bad, "command": [bad, bad + "\n\t" + bad], "environment": {bad: bad}},
                "def_set": bad, "unfinished": [{**run("failed"), "text": bad}], "next_times": [bad], "id": bad,
                "url": bad, "version": bad, "check": bad, "status": bad, "advice": bad, "detail": bad}
        evil["attempts"] = [{**a, "text": bad, "cause": bad, "engine": bad, "id": bad} for a in evil["attempts"]]
        evil["checks"] = [dict(evil), dict(evil)]
        evil.update(cluster=bad, uuid=bad, replica=bad, refusing=bad, leader={"id": bad, "url": bad}, epoch=1, index=1,
                    replicas=[{"id": bad, "url": bad, "refuses": bad, "version": bad}], differences=[{bad: bad}],
                    since="a", until="b", unaccounted=[{"job": bad, "from": bad, "to": bad, "count": 1}], runs=[bad],
                    created=[bad], changed=[bad], deleted=[bad], unchanged=1, warnings=[bad], count=1, times=[bad],
                    lines=[bad], text=bad, items=[{"time": bad, "text": bad, "state": bad}])
        fake = Fake(self)
        for path in ("/v1/jobs", "/v1/runs"):
            fake.on("GET", path, [evil])
        for path in (f"/v1/runs/{RUN}", "/v1/jobs/a", "/v1/explain", "/v1/audit", "/v1/cluster", "/v1/doctor", "/v1/version"):
            fake.on("GET", path, evil)
        fake.on("GET", "/v1/defs", {"index": 1, "jobs": {"gone": evil["def"], "a": evil["def"]}})
        for path in ("/v1/apply", "/v1/jobs/a/pause", "/v1/jobs/a/trigger", "/v1/jobs/a/backfill", f"/v1/runs/{RUN}/kill",
                     "/v1/cluster/step-down", "/v1/cluster/init", "/v1/cluster/join"):
            fake.on("POST", path, evil)
        job = self.folder.write("a.yaml", f"jobs: {{a: {{command: ['true', {json.dumps(bad)}], schedule: '0 0 * * *'}}}}\n")
        broken = self.folder.write("b.yaml", f"jobs: {{b: {{{json.dumps(bad)}: 1, schedule: {json.dumps(bad)}}}}}\n")
        verbs = [("jobs",), ("show", "a"), ("runs",), ("run", RUN), ("explain", "a", "2026-11-22T03:00:00Z"), ("audit", "--since", "1h"),
                 ("cluster",), ("doctor",), ("plan", job), ("plan", broken), ("validate", broken),
                 ("apply", job), ("pause", "a"), ("trigger", "a"), ("trigger", "a", "--wait"), ("kill", RUN),
                 ("backfill", "a", "--from", "2026-11-22", "--to", "2026-11-23", "--dry-run"), ("cluster", "init"), ("cluster", "join"),
                 ("cluster", "step-down"), ("dst-report", job)]
        cli = self.cli(fake)
        for verb in verbs:
            for form in ((), ("-o", "json"), ("-o", "yaml")):
                answer = cli.call(*verb, *form)
                self.assertPrintable(answer.out, f"{verb} {form}")
                self.assertPrintable(answer.err, f"{verb} {form}")
        told = self.cli(Fake(self).on("GET", "/v1/jobs", error("internal", bad))).call("jobs")
        self.assertPrintable(told.err, "an error")
        self.assertIn("y", told.err)
        self.assertEqual(json.loads(cli.call("run", RUN, "-o", "json").out)["text"], bad)

    def test_what_was_typed_does_not_steer_the_terminal_either(self):
        """A script may pass on what somebody else has chosen."""
        bad, fake = self.BAD, Fake(self)
        for path in ("pause", "resume", "backfill"):
            fake.on("POST", f"/v1/jobs/{bad}/{path}", {"count": 1, "fire_times": []})
        fake.on("POST", f"/v1/runs/{bad}/kill", {}).on("DELETE", f"/v1/jobs/{bad}", {})
        cluster = {"standing": "member", "replica": "r1", "index": 1, "replicas": [{"id": bad, "applied": 1, "url": ""}]}
        fake.on("GET", "/v1/cluster", cluster)
        cli = self.cli(fake)
        for words in ([bad], ["jobs", bad], ["jobs", "--" + bad], ["jobs", "-o", bad], ["help", bad], ["pause", bad], ["resume", bad],
                      ["delete", bad], ["kill", bad], ["backfill", bad, "--from", "2026-11-22", "--to", "2026-11-23"],
                      ["trigger", "j", "-p", bad], ["trigger", "j", "--timeout", bad], ["runs", "-n", bad], ["runs", "--since", bad],
                      ["runs", "--state", bad], ["explain", "j", bad], ["next", bad], ["next", "0 0 * * *", "--timezone", bad],
                      ["validate", bad], ["apply", bad], ["jobs", "--token-file", bad], ["jobs", "--server", bad], ["token", bad],
                      ["token", "a", "--append", f"/{bad}/x"], ["completion", bad], ["drill", bad], ["drill", "kill-leader", "--lab", bad],
                      ["serve", "--config", bad], ["serve", "--" + bad], ["reset-journal", bad], ["cluster", "recover", "--from", bad],
                      ["cluster", "forget", bad, "--yes"], ["cluster", "rejoin", "--data-dir", bad], ["dst-report", bad], ["logs", "r", "--tail", bad]):
            answer = cli.call(*words)
            self.assertNotEqual("", answer.out + answer.err)
            self.assertPrintable(answer.out, words)
            self.assertPrintable(answer.err, words)

    def test_answers_of_wrong_types_harm_nothing(self):
        """Whatever a server answers: the verb ends, by itself and soon."""
        keys = ("attempts attempt audit cause checks check status text advice cluster standing replica replicas id url leader count "
                "fire_times created changed deleted unchanged warnings index jobs def schedule next_times unfinished run state verdict "
                "started ended exit_code params differences since until unaccounted doubled ranges gaps open pruned lines previous "
                "next paused version seed anchor mark refuses applied timezone existing").split()
        fake, cli = Fake(self), None
        cli = self.cli(fake)
        job = self.folder.write("t.yaml", "jobs: {a: {command: ['true'], schedule: '0 0 * * *'}}\n")
        verbs = [("jobs",), ("show", "a"), ("runs",), ("run", RUN), ("explain", "a", "2026-11-22T03:00:00Z"), ("cluster",), ("doctor",),
                 ("audit", "--since", "1h"), ("audit", "--since", "1h", "--all-replicas"), ("plan", job), ("apply", job),
                 ("trigger", "a", "--wait"), ("logs", "-f", RUN), ("backfill", "a", "--from", "2026-11-22", "--to", "2026-11-23"),
                 ("cluster", "takeovers"), ("cluster", "recover"), ("next", "--job", "a")]
        for wrong in (-2**63, "x", [], {}, None, [[]], [7], {"a": {"a": 7}}):
            for value in (wrong, {key: wrong for key in keys}):
                fake.answers = {(method, path): [(200, value)] for method, path in (
                    *(("GET", f"/v1/{p}") for p in ("jobs", "jobs/a", "runs", f"runs/{RUN}", "explain", "cluster", "doctor", "version",
                                                    "audit", "defs", "records", f"runs/{RUN}/logs")),
                    *(("POST", f"/v1/{p}") for p in ("apply", "jobs/a/backfill")))}
                fake.on("POST", "/v1/jobs/a/trigger", {"run": RUN})
                for verb in verbs if value is not wrong or wrong in (None, []) else verbs[::3]:
                    with self.subTest(verb=verb, value=str(value)[:40]):
                        cli.call(*verb, timeout=3)

    def test_a_list_of_runs_without_an_end_is_left(self):
        rows = [{"run": f"a@20261122T030000.{n % 1000:03}Z", "job": "a", "fire_time": None} for n in range(10000)]
        fake = Fake(self).on("GET", "/v1/audit", {"since": "a", "until": "b"}).on("GET", "/v1/version", {"replica": "r1"})
        fake.on("GET", "/v1/cluster", {"replicas": [{"id": "r1", "url": fake.url}]})
        for times in (["2026-11-22T03:00:00Z", "2026-11-21T03:00:00Z", "2026-11-22T03:00:00Z", "2026-11-21T03:00:00Z"], ["soon"], [7]):
            fake.requests.clear()
            fake.on("GET", "/v1/runs", *([*rows[:-1], {**rows[-1], "fire_time": t}] for t in times))
            answer = self.cli(fake).call("audit", "--since", "1h", "--all-replicas")
            self.assertEqual(1, answer.code, answer)
            self.assertIn("its list of runs does not go back in time", answer.out)
            self.assertLessEqual(len(fake.asked("GET", "/v1/runs")), 3)
        fake.on("GET", "/v1/cluster", {"replicas": [{"id": "r1", "url": fake.url}] * 101})
        self.assertIn("names more than 100 replicas", self.cli(fake).call("audit", "--since", "1h", "--all-replicas").err)

    def test_answers_are_bounded_in_values(self):
        fake = Fake(self).on("GET", "/v1/jobs", (200, b"[" + b"0," * 8000000 + b"0]"))
        answer = self.cli(fake).call("jobs", "-o", "json")
        self.assertEqual(64, answer.code)
        self.assertIn("has more than 8000000 values", answer.err)
        fake.on("GET", "/v1/jobs", (200, b"[" * 100000))
        self.assertIn("is nested more than 64 deep", self.cli(fake).call("jobs").err)

    def test_a_write_that_waits_says_for_what(self):
        fake = Fake(self).on("POST", "/v1/jobs/j/pause", *[error("no-leader", "nobody leads")] * 4, {"paused": True})
        answer = self.cli(fake).check("pause", "j")
        self.assertEqual("cronsched: nobody leads; asking again for up to 30 s\n", answer.err)
        self.assertEqual(5, len(fake.requests))

    def test_a_write_that_is_refused_for_good_is_not_sent_there_again(self):
        path = "/v1/jobs/j/pause"
        first, second = (Fake(self).on("POST", path, error("refused", "the journal is not believed")) for _ in range(2))
        answer = self.cli(first, second).call("pause", "j", timeout=10)
        self.assertEqual((5, "cronsched: the journal is not believed\n"), (answer.code, answer.err))
        self.assertEqual((1, 1), (len(first.requests), len(second.requests)))
        second.on("POST", path, {"paused": True})
        self.assertEqual("j paused\n", self.cli(first, second).check("pause", "j").out)

    def test_no_server_at_a_socket_says_what_to_do(self):
        path = self.folder.join("no.sock")
        for server, variable, says in ((f"unix:{path}", self.folder.path, "--server or CRONSCHED_SERVER names the socket"),
                                       ("", self.folder.make("data"), "CRONSCHED_SERVER or CRONSCHED_DATA_DIR names another")):
            answer = self.cli(server, CRONSCHED_DATA_DIR=variable).call("jobs")
            self.assertEqual(5, answer.code)
            self.assertIn("No such file or directory", answer.err)
            self.assertIn("Is 'cronsched serve' running here?", answer.err)
            self.assertIn(says, answer.err)

    def test_replicas_are_asked_at_the_sockets_that_were_named(self):
        """Their URLs are for callers with a token."""
        fakes = {}
        for name in ("r1", "r2"):
            fakes[name] = Fake(self, self.folder.join(f"{name}.sock")).on("GET", "/v1/version", {"replica": name})
            fakes[name].on("GET", "/v1/audit", {"since": "a", "until": "b", "fire_times": 0}).on("GET", "/v1/runs", [])
            fakes[name].on("POST", "/v1/cluster/recover", {})
        rows = [{"id": name, "url": self.dead_url(), "applied": 1} for name in fakes]
        cluster = {"standing": "refusing", "replica": "r1", "index": 1, "replicas": rows}
        fakes["r1"].on("GET", "/v1/cluster", cluster)
        done = {**cluster, "replica": "r2", "standing": "member", "leader": {"id": "r2"}, "recovering": False, "recovery": "done"}
        fakes["r2"].on("GET", "/v1/cluster", done)
        cli = self.cli(*fakes.values())
        self.assertIn("the books of 2 replicas agree", cli.check("audit", "--since", "1h", "--all-replicas").out)
        self.assertIn("r2 leads it", cli.check("cluster", "recover", "--from", "r2", "--yes").out)
        self.assertEqual((0, 1), tuple(len(f.asked("POST", "/v1/cluster/recover")) for f in fakes.values()))
        for fake in fakes.values():
            fake.on("POST", "/v1/cluster/forget", {})
        cli.check("cluster", "forget", "r3", "--yes")
        self.assertEqual((1, 1), tuple(len(f.asked("POST", "/v1/cluster/forget")) for f in fakes.values()))
        answer = self.cli(fakes["r1"]).call("audit", "--since", "1h", "--all-replicas")  # the other one by its URL
        self.assertIn("r2: cannot be asked: http://127.0.0.1", answer.out)

    def test_a_log_does_not_steer_the_terminal(self):
        text = "one\ttab \x1b]0;PWNED\x07\x1b[2J caf\u00e9 \x9b31m \u202e end\n"
        fake = Fake(self).on("GET", f"/v1/runs/{RUN}/logs", Stream(*(bytes([b]) for b in text.encode())))  # a byte each

        def shown(*options):
            mine, its = os.openpty()
            self.addCleanup(os.close, mine)
            done = subprocess.run([lab.binary(), "logs", RUN, *options], env=self.cli(fake).environment, stdout=its,
                                  stderr=subprocess.PIPE, timeout=lab.scaled(20), check=False)
            os.close(its)
            self.assertEqual(0, done.returncode, done.stderr)
            return os.read(mine, 4096).decode().replace("\r\n", "\n")
        self.assertPrintable(shown(), "logs")
        self.assertEqual("one\ttab  ]0;PWNED  [2J caf\u00e9  31m   end\n", shown())
        self.assertEqual(text, shown("--raw"))
        self.assertEqual(text, self.cli(fake).check("logs", RUN).out)

    def test_letters_beyond_ascii_in_any_locale(self):
        fake = Fake(self).on("GET", "/v1/jobs", [{"job": "a", "schedule": "café 中", "timezone": "UTC", "next": None,
                                                  "last": None, "verdict": None, "paused": False}])
        for locale in ("C", "POSIX", "C.UTF-8", "no_SUCH.locale"):
            self.assertIn("café 中", self.cli(fake, LC_ALL=locale).check("jobs", timeout=20).out)

    def test_queries_are_escaped_and_times_understood(self):
        fake = Fake(self).on("GET", "/v1/runs", [{"run": RUN}]).on("GET", "/v1/audit", {"since": "a", "until": "b", "fire_times": 2,
                                                                            "unaccounted": []})
        cli = self.cli(fake)
        cli.check("runs", "a&b=c d/ü", "--state", "ended", "--since", "2026-11-22T03:00:00+02:00", "-n", "7")
        self.assertEqual({"job": "a&b=c d/ü", "state": "ended", "since": "2026-11-22T01:00:00Z", "limit": "8"},
                         fake.requests[0][2])
        cli.check("audit", "--since", "2026-11-22", "--until", "2026-11-22 10:30")
        self.assertEqual({"since": "2026-11-22T00:00:00Z", "until": "2026-11-22T10:30:00Z"}, fake.requests[1][2])
        fake.on("GET", "/v1/jobs/a/b?c", {})
        cli.check("show", "a/b?c", "-o", "json")
        self.assertEqual("/v1/jobs/a/b?c", fake.requests[2][1])

    def test_audit_exits_1_and_lists_what_is_unaccounted(self):
        lost = [{"job": "j", "fire_time": "2026-11-22T03:00:00Z", "why": "neither run nor skip"}]
        fake = Fake(self).on("GET", "/v1/audit", {"since": "a", "until": "b", "fire_times": 2, "unaccounted": lost,
                                                  "unaccounted_count": 1})
        answer = self.cli(fake).call("audit", "--since", "2h")
        self.assertEqual(1, answer.code)
        self.assertIn("2026-11-22T03:00:00Z", answer.out)
        self.assertIn("1 unaccounted", answer.out)

    def trigger_fake(self, *states):
        return Fake(self).on("POST", "/v1/jobs/nightly/trigger", {"run": RUN, "existing": False}).on(
            "GET", f"/v1/runs/{RUN}", *states)

    def test_trigger_wait_tells_by_its_exit_code_how_the_run_ended(self):
        going = run(None, None, "running")
        for verdict, exit_code, plain, own in (("succeeded", 0, 0, 0), ("failed", 42, 1, 42), ("failed", None, 1, 1),
                                               ("timed-out", None, 1, 1), ("killed", 0, 1, 1), ("lost", None, 1, 1),
                                               ("failed", 256, 1, 1)):
            done = run(verdict, exit_code)
            fake = self.trigger_fake(going, error("no-leader"), going, done)
            answer = self.cli(fake).call("trigger", "nightly", "--wait")
            self.assertEqual(plain, answer.code, answer)
            self.assertEqual(f"{RUN}\n", answer.out)
            self.assertIn(verdict, answer.err)
            answer = self.cli(self.trigger_fake(done)).call("trigger", "nightly", "--exit-code", "-o", "json")
            self.assertEqual(own, answer.code, answer)
            self.assertEqual(done, answer.json())

    def test_trigger_wait_that_takes_too_long_exits_7(self):
        fake = self.trigger_fake(run(None, None, "running"))
        answer = self.cli(fake).call("trigger", "nightly", "--wait", "--timeout", "300ms")
        self.assertEqual(7, answer.code, answer)
        self.assertEqual(f"{RUN}\n", answer.out)

    def test_logs_are_printed_as_they_are(self):
        text = "one\n\033[1mtwo\033[0m\nwithout end"
        fake = Fake(self).on("GET", f"/v1/runs/{RUN}/logs", Stream(text))
        self.assertEqual(text, self.cli(fake).check("logs", RUN, "--tail", "5", "--attempt", "2").out)
        self.assertEqual({"tail": "5", "attempt": "2"}, fake.requests[0][2])
        self.assertEqual(3, self.cli(fake).call("logs", "other@20261122T030000Z").code)

    def log_fake(self, logs, *states):
        """logs: for each attempt its answers, the last one again and again. Line n has the stamp of second n."""
        def log(query):
            answers = logs[query["attempt"]]
            answer = answers.pop(0) if len(answers) > 1 else answers[0]
            if not isinstance(answer, Stream):
                return answer
            lines = "".join(answer.chunks).splitlines(keepends=True)
            stamped = [f"2026-11-22T03:00:{n:02}.000000000Z {line}" for n, line in enumerate(lines)]
            return Stream(*(line for line in stamped if line >= query.get("since", "")), cut=answer.cut)

        return self.trigger_fake(*states).on("GET", f"/v1/runs/{RUN}/logs", log)

    def test_following_goes_over_a_cut_without_printing_twice_and_on_to_the_next_attempt(self):
        going = run(None, None, "running")
        fake = self.log_fake({"1": [Stream("one\ntw", cut=True), Hangup, Stream("one\ntwo\n"),
                                    Stream("one\ntwo\nthree\n")], "2": [Stream("second attempt\n")]},
                             going, going, run(None, None, "retrying"), run(None, None, "running", 2),
                             run("succeeded", 0, "ended", 2))
        answer = self.cli(fake).check("logs", RUN, "-f")
        self.assertEqual("one\ntwo\nthree\nsecond attempt\n", answer.out)
        self.assertEqual("--- attempt 2\n", answer.err)

    def test_following_the_last_lines_prints_them_once(self):
        fake = self.log_fake({"1": [(404, {"error": {"code": "not-found", "text": "no log yet"}}),
                                    Stream("nine\nten\n", cut=True), Stream("nine\nten\neleven\n")]},
                             run(None, None, "running"), run(None, None, "running"), run(None, None, "running"), run())
        answer = self.cli(fake).check("logs", RUN, "-f", "--tail", "2")
        self.assertEqual("nine\nten\neleven\n", answer.out)
        asked = [r[2] for r in fake.asked("GET", f"/v1/runs/{RUN}/logs")]
        self.assertEqual(["2", "2", None, None], [q.get("tail") for q in asked])
        self.assertEqual([None, None, "01", "02"], [q.get("since", "")[17:19] or None for q in asked])

    def test_following_a_server_that_gives_no_stamps(self):
        long = "a line that is longer than a stamp would be\n"
        for text in ("short\n", long, "without end", long + "without end"):
            fake = self.trigger_fake(run(None, None, "running"), run())
            fake.on("GET", f"/v1/runs/{RUN}/logs", Stream(text))
            self.assertEqual(text, self.cli(fake).check("logs", RUN, "-f").out)

    def test_logs_of_all_attempts_have_a_head_line_each(self):
        two = run("succeeded", 0, "ended", 2)
        two["attempts"][0]["exit_code"] = 75
        fake = self.log_fake({"1": [Stream("one")], "2": [Stream("two\n")]}, two)
        stamp = "2026-11-22T03:00:00.000000000Z "
        for options, before in (((), stamp), (("-f",), ""), (("-f", "-t"), stamp)):
            expected = f"--- attempt 1, exit code 75\n{before}one\n--- attempt 2, exit code 0\n{before}two\n"
            self.assertEqual(expected, self.cli(fake).check("logs", RUN, "--attempt", "all", *options).out)

    def test_logs_of_a_job_are_those_of_the_run_that_began_last(self):
        def row(second, started, state="ended"):
            one = run(None, None, state)
            return {**one, "run": f"nightly@20261122T03000{second}Z", "started": started}
        rows = [row(5, None, "armed"), row(4, "2026-11-22T03:00:04Z"), row(3, "2026-11-22T04:00:00Z"),
                row(2, None, "skipped")]
        fake = Fake(self).on("GET", "/v1/jobs/nightly", {"job": "nightly"}).on("GET", "/v1/runs", rows)
        fake.on("GET", "/v1/runs/nightly@20261122T030003Z/logs", Stream("it\n"))
        answer = self.cli(fake).check("logs", "nightly", "--tail", "1", "--since", "2026-11-22T03:00:00.123456789Z")
        self.assertEqual(("it\n", "--- nightly@20261122T030003Z\n"), (answer.out, answer.err))
        self.assertEqual({"tail": "1", "since": "2026-11-22T03:00:00.123456789Z"}, fake.requests[-1][2])
        fake = Fake(self).on("GET", "/v1/jobs/nightly", {"job": "nightly"}).on("GET", "/v1/runs", rows[:1])
        answer = self.cli(fake).call("logs", "nightly")
        self.assertEqual(3, answer.code)
        self.assertIn("no run of nightly has begun yet", answer.err)
        self.assertEqual(3, self.cli(fake).call("logs", "nosuch").code)

    def test_trigger_follow_prints_the_log_alone_on_stdout(self):
        fake = self.trigger_fake(run(None, None, "running"), run("failed", 9))
        fake.on("GET", f"/v1/runs/{RUN}/logs", Stream("a\n", "b\n"))
        answer = self.cli(fake).call("trigger", "nightly", "--follow", "--exit-code")
        self.assertEqual((9, "a\nb\n"), (answer.code, answer.out))
        self.assertIn(RUN, answer.err)

    def test_apply_reports_every_fault_of_every_file_and_sends_nothing(self):
        fake = Fake(self).on("GET", "/v1/defs", {"index": 1, "jobs": {}}).on("POST", "/v1/apply", error("internal"))
        folder = self.folder.make("jobs.d")
        for name in ("a.yaml", "b.yml"):
            with open(os.path.join(folder, name), "w", encoding="utf-8") as f:
                f.write(f"jobs:\n  {name[0]}:\n    schedule: \"99 * * * *\"\n    comand: x\n    command: [\"true\"]\n")
        for server in (fake, self.dead_url()):
            answer = self.cli(server).call("apply", folder)
            self.assertEqual(2, answer.code, answer)
            found = re.findall(r"^.*/(\S+\.ya?ml):(\d+):\d+: error: ", answer.err, re.M)
            self.assertEqual({("a.yaml", "3"), ("a.yaml", "4"), ("b.yml", "3"), ("b.yml", "4")}, set(found), answer)
        self.assertEqual([], fake.asked("POST", "/v1/apply"))

    def jobs_file(self, name, jobs):
        return self.folder.write(name, json.dumps({"jobs": jobs}))

    def test_apply_sends_all_jobs_with_its_options(self):
        fake = Fake(self).on("GET", "/v1/defs", {"index": 7, "jobs": {}})
        fake.on("POST", "/v1/apply", {"index": 8, "created": ["a", "b"], "changed": [], "deleted": ["c"],
                                      "unchanged": 3, "warnings": ["a: its schedule never fires"]})
        path = self.jobs_file("j.yaml", {"a": {"schedule": "0 3 * * *", "command": ["true"]},
                                         "b": {"command": ["false"], "retries": {"max": 2}}})
        answer = self.cli(fake).check("apply", path, "--set", "s", "--prune", "--check-index", "7")
        body = fake.asked("POST", "/v1/apply")[0][3]
        self.assertEqual(("s", True, 7, {"a", "b"}), (body["set"], body["prune"], body["check_index"],
                                                      set(body["jobs"])))
        self.assertEqual({"max": 2}, body["jobs"]["b"]["retries"])
        self.assertIn("2 created, 0 changed, 1 deleted, 3 unchanged (index 8)", answer.out)
        self.assertIn("warning: a: its schedule never fires", answer.err)
        self.assertEqual(2, self.cli(fake).call("apply", path, "--prune").code)

    def test_apply_with_an_index_is_not_sent_twice(self):
        fake = Fake(self).on("GET", "/v1/defs", {"index": 7, "jobs": {}}).on("POST", "/v1/apply", Hangup)
        path = self.jobs_file("j.yaml", {"a": {"command": ["true"]}})
        self.assertEqual(7, self.cli(fake).call("apply", path, "--check-index", "7").code)
        self.assertEqual(1, len(fake.asked("POST", "/v1/apply")))

    def test_plan_shows_fields_and_fire_times_and_tells_by_its_exit_code(self):
        stored = {"def": {"schedule": "0 2 * * *", "command": ["true"], "retries": {"max": 1}}, "version": 3,
                  "set": None, "seed": 1, "anchor": 0}
        fake = Fake(self).on("GET", "/v1/defs", {"index": 7, "jobs": {"a": stored, "gone": stored}})
        fake.on("POST", "/v1/apply", {"index": 7, "created": ["n"], "changed": ["a"], "deleted": ["gone"],
                                      "unchanged": 0, "warnings": []})
        path = self.jobs_file("j.yaml", {
            "a": {"schedule": "0 3 * * *", "command": ["true"], "retries": {"max": 2}, "timezone": "Asia/Tokyo"},
            "n": {"schedule": ["@every 15m"], "command": ["true"]}})
        answer = self.cli(fake).call("plan", path)
        self.assertEqual(1, answer.code, answer)
        self.assertEqual(True, fake.asked("POST", "/v1/apply")[0][3]["dry_run"])
        for line in (r"^\+ n$", r"^~ a$", r"^- gone$", r"^    schedule: \[?\"0 2 \* \* \*\"\]? -> \[?\"0 3 \* \* \*\"\]?$",
                     r"^    retries\.max: 1 -> 2$", r"^    timezone: \(default\) -> \"Asia/Tokyo\"$",
                     r"^    next: \d+-\d+-\d+ 18:00:00 UTC, ",
                     r"^    removed:( \d+-\d+-\d+ 02:00:00 UTC,){3} \.\.\.$",
                     r"^    added:( \d+-\d+-\d+ 18:00:00 UTC,){3} \.\.\.$",
                     r"^   in a minute  minutes now +minutes then$", r"^ +1 +[02] #* +9[5-7] #{24}$",
                     r"^1 to create, 1 to change, 1 to delete, 0 unchanged; .*--check-index 7$",
                     r"^Launches in the next 24 h: 97 \(now 2\); most in one minute: "):
            self.assertRegex(answer.out, re.compile(line, re.M))
        plan = self.cli(fake).call("plan", path, "-o", "json").json()
        self.assertEqual({"field": "retries.max", "old": 1, "new": 2},
                         [f for f in plan["changed"][0]["fields"] if f["field"] == "retries.max"][0])
        self.assertEqual(3, len(plan["changed"][0]["next_after"]))
        self.assertEqual([4, 4], [len(plan["changed"][0][key]) for key in ("removed", "added")])
        self.assertEqual(plan["changed"][0]["next_before"], plan["deleted_next"]["gone"][:3])
        load = plan["load"]
        self.assertEqual([2, 97], [sum(row["launches"] * row["minutes"] for row in load[side]["histogram"])
                                   for side in ("before", "after")])

    def test_a_plan_shows_just_the_fire_times_that_differ(self):
        stored = {"def": {"schedule": "0 2 * * *", "command": ["true"]}, "version": 1, "set": None, "seed": 1,
                  "anchor": 0}
        fake = Fake(self).on("GET", "/v1/defs", {"index": 7, "jobs": {"a": stored}})
        fake.on("POST", "/v1/apply", {"index": 7, "created": [], "changed": ["a"], "deleted": [], "unchanged": 0,
                                      "warnings": []})
        path = self.jobs_file("j.yaml", {"a": {"schedule": ["0 2 * * *", "0 4 24 12 *"], "command": ["true"],
                                               "except": ["2100-01-01"]}})
        changed = self.cli(fake).call("plan", path, "-o", "json").json()["changed"][0]
        self.assertEqual([], changed["removed"])
        self.assertEqual(["12-24T04:00:00Z"], sorted({t[5:] for t in changed["added"]}))
        self.assertLessEqual(2, len(changed["added"]))
        fake.on("POST", "/v1/apply", {"index": 7, "created": [], "changed": [], "deleted": [], "unchanged": 2,
                                      "warnings": []})
        answer = self.cli(fake).call("plan", path)
        self.assertEqual((0, "Nothing would change.\n"), (answer.code, answer.out))
        fake.on("POST", "/v1/apply", error("conflict"))
        self.assertEqual(6, self.cli(fake).call("plan", path).code)

    def test_cluster_and_doctor(self):
        cluster = {"cluster": "prod", "epoch": 7, "leader": {"id": "r1", "url": "https://r1:7460"},
                   "replicas": [{"id": "r1", "url": "https://r1:7460", "role": "leader", "applied": 42, "version": "1",
                                 "tzdata": "2026f", "clock_offset_ms": -3}]}
        fake = Fake(self).on("GET", "/v1/cluster", cluster).on("GET", "/v1/version", {"version": "0.0.1"})
        fake.on("GET", "/v1/doctor", {"checks": [{"check": "clock", "status": "ok", "text": "in step"}]})
        out = self.cli(fake).check("cluster").out
        self.assertRegex(out, r"r1 +leader +https://r1:7460 +42 +1 +2026f +-3 ms")
        self.assertEqual(cluster, self.cli(fake).json("cluster"))
        answer = self.cli(fake).check("doctor")
        self.assertIn("has version 0.0.1", answer.out)
        self.assertIn("clock: in step", answer.out)
        fake.on("GET", "/v1/doctor", {"checks": [{"check": "engine docker", "status": "error", "text": "refused",
                                                  "advice": "start it"}]})
        answer = self.cli(fake).call("doctor")
        self.assertEqual(1, answer.code)
        self.assertIn("start it", answer.out)
        self.assertEqual(5, self.cli(self.dead_url()).call("doctor").code)

    def test_a_full_disk_behind_stdout_is_told(self):
        fake = Fake(self).on("GET", "/v1/jobs", [])
        with open("/dev/full", "w", encoding="utf-8") as full:
            done = subprocess.run([lab.binary(), "jobs", "--server", fake.url], stdout=full, stderr=subprocess.PIPE,
                                  text=True, timeout=lab.scaled(20), check=False)
        self.assertEqual(64, done.returncode)
        self.assertIn("No space left", done.stderr)

    def test_the_completion_is_bash_and_offers_what_the_table_has(self):
        script = self.cli("x").check("completion", "bash").out
        fake = Fake(self).on("GET", "/v1/jobs", [{"job": "nightly"}, {"job": "noon"}])
        fake.on("GET", "/v1/runs", [])
        cases = (("jo", {"jobs"}), ("show n", {"nightly", "noon"}), ("trigger --wa", {"--wait"}),
                 ("jobs -o ", {"table", "json", "yaml"}), ("help tri", {"trigger"}))
        for line, wanted in cases:
            words = ["cronsched", *line.split(" ")]
            test = (f"{script}\ncronsched() {{ {lab.binary()} \"$@\"; }}\n"
                    f"COMP_WORDS=({' '.join(repr(w) for w in words)}); COMP_CWORD={len(words) - 1}\n"
                    "_cronsched; printf '%s\\n' \"${COMPREPLY[@]}\"")
            done = subprocess.run(["bash", "-c", test], env={**os.environ, "CRONSCHED_SERVER": fake.url},
                                  capture_output=True, text=True, timeout=lab.scaled(60), check=False)
            self.assertLessEqual(wanted, set(done.stdout.split()), (line, done))

    def test_every_verb_has_help(self):
        cli = self.cli("x")
        verbs = re.findall(r"^  ([a-z][a-z-]*(?: [a-z][a-z-]*)*)", cli.check("help").out, re.M)
        self.assertLessEqual({"jobs", "trigger", "apply", "plan", "doctor"}, {v.split()[0] for v in verbs})
        for verb in verbs:
            self.assertIn(f"Usage: cronsched {verb}", cli.check("help", *verb.split()).out)
            self.assertIn("Options:", cli.check(*verb.split(), "--help").out)

    def test_a_token_is_made_and_appended_by_hash_only(self):
        path = self.folder.join("tokens")
        cli = self.cli("x")
        token = cli.check("token", "deploy", "--role", "admin", "--append", path).out.strip()
        self.assertRegex(token, r"^cs_[A-Za-z0-9_-]{43}$")
        with open(path, encoding="utf-8") as f:
            line = f.read()
        self.assertTrue(line.startswith("deploy admin "), line)
        self.assertNotIn(token, line)
        self.assertEqual(0o600, os.stat(path).st_mode & 0o777)
        self.folder.write("tokens", "ops read " + "0" * 64)  # without a newline at its end
        cli.check("token", "more", "--append", path)
        self.assertRegex(open(path, encoding="ascii").read(), r"\Aops read 0{64}\nmore operate \S{64}\n\Z")
        before = cli.call("token", "more", "--append", path)
        self.assertEqual((6, ""), (before.code, before.out))
        self.assertIn("there is a token named 'more' already", before.err)
        self.folder.write("tokens", "broken\n")
        self.assertIn("tokens:1: a line is NAME ROLE", cli.call("token", "x", "--append", path).err)
        self.assertEqual("broken\n", open(path, encoding="ascii").read())

    def test_a_token_is_printed_with_its_line(self):
        cli = self.cli("x")
        made = cli.json("token", "ci")
        self.assertEqual(("ci", "operate"), (made["name"], made["role"]))
        self.assertTrue(made["line"].startswith("ci operate "), made)
        self.assertRegex(cli.check("token", "ci").out,
                         r"^Token, shown only now:  cs_[A-Za-z0-9_-]{43}\nLine for tokens_file:   ci operate \S+\n$")
        answer = cli.call("token", "ci", "--append", self.folder.join("nowhere/tokens"))
        self.assertEqual(64, answer.code, answer)
        self.assertIn("nowhere/tokens: No such file or directory", answer.err)

    def test_validate_tells_programs_too(self):
        path = self.folder.write("j.yaml", "jobs:\n  a: {schedule: \"61 * * * *\", image: x}\n  b: {schedule: \"@daily\", image: x}\n")
        answer = self.cli("x").call("validate", path, "-o", "json")
        self.assertEqual((1, ""), (answer.code, answer.err), answer)
        said = answer.json()
        self.assertEqual((1, 1, 1), (said["files"], said["jobs"], said["failed"]), said)
        self.assertEqual([(path, 2, 18, "error")], [(e["file"], e["line"], e["column"], e["severity"]) for e in said["errors"]])


class Texts(lab.Suite):
    """What the texts tell people to type."""
    TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

    def commands(self):
        """(where, words) of each `cronsched ...` in code: between backticks, in indented and fenced blocks, in comments of
        job files and in what quickstart prints."""
        names = ["README.md", "contrib/quickstart"]
        for folder in ("contrib/guide", "contrib/examples/jobs", "contrib/examples/swarm", "contrib/examples/kubernetes"):
            names += [f"{folder}/{n}" for n in sorted(os.listdir(os.path.join(self.TOP, folder)))]
        for name in (n for n in names if n.endswith((".md", ".yaml", "quickstart"))):
            with open(os.path.join(self.TOP, name)) as f:
                lines = f.read().split("\n")
            fenced = False
            for number, line in enumerate(lines, 1):
                fenced ^= line.startswith("```")
                code = re.findall(r"`(cronsched [a-z][^`]*)`", line)
                if fenced or not name.endswith(".md") or line.startswith("    "):
                    found = re.match(r"[\s#$]*(?:sudo (?:-u \S+ )?|\w+=\S+ )*(cronsched [a-z].*)", line)
                    code += [re.split(r"  +", found.group(1))[0]] if found else []
                for text in (re.sub(r"\$\(.*?\)", "", c) for c in code):
                    yield f"{name}:{number}", re.split(r"[|;>&]", text.replace("'", "").replace('"', ""))[0].split()[1:]

    def test_commands_that_the_texts_print_exist(self):
        cli = lab.Cli("unix:/nonexistent")
        verbs = re.findall(r"(?m)^  ([a-z][a-z-]*(?: [a-z][a-z-]+)?)(?= {2,}| [A-Z\[]| *$)", cli.check("help").out)
        known, wrong, count = {}, [], 0
        for where, words in self.commands():
            verb = next((v for v in (" ".join(words[:2]), *words[:1]) if v in verbs), None)
            if not verb:
                wrong.append(f"{where}: there is no verb {words}")
                continue
            if verb not in known:
                known[verb] = re.findall(r"(?<![\w-])--?[a-z][a-z-]*", cli.check("help", *verb.split()).out)
            options = [re.sub("=.*", "", w).rstrip(",.:)") for w in words if re.match(r"--?[a-z]", w)]
            wrong += [f"{where}: {verb} has no {option}" for option in options if option not in known[verb]]
            count += 1
        self.assertNone(wrong)
        self.assertGreater(count, 30)


if __name__ == "__main__":
    lab.main()
