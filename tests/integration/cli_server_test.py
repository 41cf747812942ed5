#!/usr/bin/python3
"""The command line against the real server: that both mean the same by paths, bodies, answers and exit codes."""

import http.client
import json
import os
import re
import socket
import subprocess
import sys
import threading
import time
import urllib.parse

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lab"))
import lab  # noqa: E402

TOP = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
SLOW = {"command": ["sh", "-c", "for i in 1 2 3 4 5 6; do echo line $i; sleep 0.5; done"]}
LINES = "".join(f"line {i}\n" for i in range(1, 7))
NEVER = "0 0 1 1 *"  # nothing fires in the time of a test, save at New Year


class CommandLineAndServer(lab.Suite):
    side_by_side = 2

    def setUp(self):
        super().setUp()
        self.one = self.server().start()
        self.cli = self.one.cli

    def tearDown(self):
        self.one.stop()

    def fetch(self, path):
        """(status, answer, headers) over the socket."""
        connection = http.client.HTTPConnection("localhost")
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.connect(self.one.socket)
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read()), dict(answer.getheaders())

    def files(self, jobs):
        return self.folder.write("jobs.yaml", json.dumps({"jobs": jobs}))

    def test_plan_and_apply_agree_and_guard_each_other(self):
        jobs = {"a": {"schedule": NEVER, "command": ["true"]}, "b": {"command": ["true"]}}
        path = self.files(jobs)
        plan = self.cli.call("plan", path, "--set", "s", "-o", "json")
        self.assertEqual((1, {"a", "b"}), (plan.code, {j["job"] for j in plan.json()["created"]}))
        index = plan.json()["index"]
        self.cli.check("apply", path, "--set", "s", "--check-index", index)
        self.assertEqual(6, self.cli.call("apply", path, "--set", "s", "--check-index", index).code)
        self.assertRegex(self.cli.check("plan", path, "--set", "s").out,
                         rf"\Acluster lab \([0-9a-f-]{{36}}\) at unix:{self.one.socket}\nNothing would change\.\n\Z")
        path = self.files({"a": {"schedule": "0 0 2 1 *", "command": ["true"], "retries": {"max": 3}}})
        plan = self.cli.call("plan", path, "--set", "s", "--prune", "-o", "json").json()
        self.assertEqual(["b"], plan["deleted"])
        self.assertEqual({"schedule", "retries.max"}, {f["field"] for f in plan["changed"][0]["fields"]})
        planned = plan["changed"][0]["next_after"]
        answer = self.cli.json("apply", path, "--set", "s", "--prune")
        self.assertEqual((["a"], ["b"]), (answer["changed"], answer["deleted"]))
        self.assertEqual(planned, self.cli.json("show", "a")["next_times"][:3])
        self.assertEqual(["a"], [j["job"] for j in self.cli.json("jobs")])

    def test_jobs_are_chosen_and_stale_ones_are_told_by_the_exit_code(self):
        self.one.apply({"good": {"command": ["true"], "owner": "alice", "labels": {"team": "finance"}},
                        "bad": {"command": ["false"], "owner": "bob", "schedule": NEVER}})
        for job in ("good", "bad"):
            self.cli.call("trigger", job, "--wait")

        def chosen(*options):
            return [j["job"] for j in self.cli.call("jobs", *options, "-o", "json").json()]

        self.assertEqual(["good"], chosen("--filter", "label:team=fin* owner:alice"))
        self.assertEqual(["bad"], chosen("-f", "state:failing"))
        self.assertEqual(["bad", "good"], chosen("-f", "verdict:succeeded,failed", "--sort", "failures"))
        self.assertEqual(0, self.cli.call("jobs", "--stale", "1d").code)
        self.assertEqual((1, ["bad", "good"]), (self.cli.call("jobs", "--stale", "0s").code, chosen("--stale", "0s", "--sort", "name")))
        few = self.cli.call("jobs", "--sort", "name", "-n", "1", "-o", "json")
        self.assertEqual((["bad"], "cronsched: there are more jobs than these 1\n"), ([j["job"] for j in few.json()], few.err))
        wrong = self.cli.call("jobs", "--filter", "team:finance")
        self.assertEqual(2, wrong.code)
        self.assertIn("there is no key 'team'", wrong.err)
        good = self.one.http("GET", "/v1/jobs/good")[1]
        self.assertEqual(("s", "ok", 0, {"succeeded": 1}), (good["strip"], good["health"], good["failures"], good["counts"]))
        stats = self.one.http("GET", "/v1/jobs/good/stats")[1]
        self.assertEqual((1, 1, 1.0), (stats["durations"]["count"], stats["days"][0][2], stats["success_rate_30d"]))
        counts = [c for _, c in self.one.http("GET", "/v1/runs/buckets?bucket=1d")[1]]
        self.assertEqual({"succeeded": 1, "failed": 1}, counts[0])
        self.assertEqual((1, 0), (self.one.metric("cronsched_job_failures_in_a_row"), self.one.metric("cronsched_job_metrics_left_out")))
        to_come = self.one.http("GET", "/v1/upcoming?from=2026-12-31T23:00:00Z&to=2027-01-01T01:00:00Z&bucket=1h")[1]
        self.assertEqual((1, "bad", "2027-01-01T00:00:00Z", False),
                         (to_come["total"], to_come["times"][0]["job"], to_come["peak"]["time"], to_come["truncated"]))
        self.one.stop()  # what is kept is in the journal
        self.one.start()
        bad = self.one.http("GET", "/v1/jobs?limit=5&fields=job,strip,failures&q=job:bad")[1]
        self.assertEqual([{"job": "bad", "strip": "f", "failures": 1}], bad)

    def test_runs_come_in_pages_each_once(self):
        self.one.apply({"a": {"command": ["true"], "concurrency": "allow"}, "b": {"command": ["sleep", "60"], "concurrency": "allow"}})
        runs = [self.cli.trigger("a" if i % 3 else "b") for i in range(12)]
        for run in runs:
            if run.startswith("a"):
                self.cli.wait_end(run)

        def pages(query):
            seen, after = [], ""
            while True:
                status, rows, headers = self.fetch(f"/v1/runs?limit=5&{query}{after}")
                self.assertEqual(200, status)
                seen += [r["run"] for r in rows]
                if "Cronsched-Next" not in headers:
                    self.assertNotIn("Cronsched-More", headers)
                    return seen
                after = "&after=" + headers["Cronsched-Next"]

        self.assertEqual(sorted(runs, key=lambda r: r.split("@")[1], reverse=True), pages(""))
        self.assertEqual([r for r in pages("") if r.startswith("a")], pages("q=state:ended"))
        self.assertEqual([r for r in pages("") if r.startswith("b")], pages("q=job:b+cause:manual".replace("+", "%20")))
        self.assertEqual(pages(""), pages("by=unix:*"))
        self.assertEqual([], pages("by=nobody"))
        self.assertEqual({"run", "state"}, set(self.fetch("/v1/runs?limit=1&fields=run,state")[1][0]))
        for bad in ("after=2r.x", "after=1r.x", "q=stat:x", "fields=nothing", "verdict=x", "limit=0"):
            self.assertEqual(400, self.fetch("/v1/runs?" + bad)[0], bad)

    def test_watch_prints_what_happens_and_goes_on_when_the_server_was_away(self):
        self.one.apply({"a": {"command": ["true"]}})
        watch = subprocess.Popen([lab.binary(), "watch", "a", "--kinds", "run", "-o", "json"], stdout=subprocess.PIPE,
                                 env=self.cli.environment, text=True)
        seen = []

        def listens():
            return self.one.metric("cronsched_event_subscribers") == 1

        def until_end_of(run):
            for line in watch.stdout:
                seen.append(json.loads(line))
                if seen[-1]["data"]["run"] == run and seen[-1]["data"]["verdict"]:
                    return seen[-1]["data"]["verdict"]

        lab.wait_for(listens, 20, "it to listen")
        first = self.cli.trigger("a")
        self.assertEqual("succeeded", until_end_of(first))
        self.one.kill()
        self.one.start()
        lab.wait_for(listens, 20, "it to listen again")
        second = self.cli.trigger("a")
        self.assertEqual("succeeded", until_end_of(second))
        watch.kill()
        watch.communicate()
        self.assertEqual({first, second}, {e["data"]["run"] for e in seen})
        self.assertEqual(len(seen), len({e["id"] for e in seen}))
        self.assertEqual(sorted(e["data"]["index"] for e in seen), [e["data"]["index"] for e in seen])

    def test_a_plan_foretells_the_fire_times_of_a_job_that_keeps_its_chosen_minute(self):
        path = self.files({"a": {"schedule": "~ 3 * * *", "command": ["true"]}})
        self.assertIsNone(self.cli.call("plan", path, "-o", "json").json()["created"][0]["next_after"])
        self.cli.check("apply", path)
        path = self.files({"a": {"schedule": "~ 3 * * *", "command": ["false"]}})
        planned = self.cli.call("plan", path, "-o", "json").json()["changed"][0]["next_after"]
        self.cli.check("apply", path)
        self.assertEqual(planned, self.cli.json("show", "a")["next_times"][:3])

    def test_what_belongs_to_a_set_is_left_alone(self):
        mine = self.files({"a": {"command": ["true"]}, "b": {"command": ["true"]}})
        theirs = self.folder.write("theirs.yaml", "jobs:\n  a: {command: [other]}\n  c: {command: [other]}\n")
        self.cli.check("apply", mine, "--set", "x")
        refused = self.cli.call("apply", theirs, "--set", "y")
        self.assertEqual(6, refused.code, refused)
        self.assertIn(f"{theirs}:2:3: error: a: it belongs to the set x; --take-over makes it one of the set y", refused.err)
        self.assertEqual({"a", "b"}, {j["job"] for j in self.cli.json("jobs")})
        self.assertEqual(6, self.cli.call("apply", theirs).code)
        planned = self.cli.call("plan", theirs, "--set", "y")
        self.assertEqual(6, planned.code, planned)
        self.assertIn("! a belongs to the set x", planned.out)
        self.assertIn("a (taken over from the set x)", self.cli.check("apply", theirs, "--set", "y", "--take-over").out)
        self.assertIn("taken over from the set x", self.cli.check("explain", "a", "now").out)
        # what Git lacks is named without --prune; nothing empties a set unasked
        one = self.folder.write("one.yaml", "jobs: {a: {command: [other]}}")
        for verb in ("plan", "apply"):
            self.assertRegex(self.cli.check(verb, one, "--set", "y").out, r"of the set y, and not in the files:\n\? c\n")
        none, empty = self.folder.make("none"), self.folder.write("empty.yaml", "jobs: {}")
        for path in (none, empty):
            for more in ((one, path), (path,)):
                answer = self.cli.call("apply", *more, "--set", "y", "--prune")
                self.assertEqual(2, answer.code, answer)
                self.assertIn(path, answer.err)
        self.assertEqual({"a", "b", "c"}, {j["job"] for j in self.cli.json("jobs")})
        status, answer = self.one.http("POST", "/v1/apply", {"jobs": {}, "set": "y", "prune": True})
        self.assertEqual((400, "invalid"), (status, answer["error"]["code"]))
        self.cli.check("apply", none, "--set", "y", "--prune", "--allow-empty")
        self.assertEqual({"b"}, {j["job"] for j in self.cli.json("jobs")})

    def test_another_cluster_is_not_touched(self):
        path, name = self.files({"a": {"command": ["true"]}}), self.cli.json("cluster")["cluster"]
        for verb in ("plan", "apply"):
            answer = self.cli.call(verb, path, "--cluster", "staging")
            self.assertEqual(6, answer.code, answer)
            self.assertIn(f"this is the cluster {name} (", answer.err)
        self.assertEqual([], self.cli.json("jobs"))
        applied = self.cli.json("apply", path, "--cluster", name)
        self.assertEqual((name, f"unix:{self.one.socket}"), (applied["cluster"], applied["server"]))
        self.cli.check("apply", path, "--cluster", applied["uuid"].upper())

    def test_a_plan_keeps_values_to_itself(self):
        def write(word):
            return self.folder.write("v.yaml", json.dumps({"jobs": {"a": {
                "command": ["true"], "environment": {"PASSWORD": word, "LOG": "info"},
                "notify": [{"on": ["failed"], "url": f"https://hooks.example/{word}"}]}}}))

        for path in (write("hunter2-old"), write("hunter2-new")):
            for form in ([], ["-o", "json"], ["-o", "yaml"]):
                out = self.cli.call("plan", path, *form).out
                self.assertNotIn("hunter2", out)
            self.cli.check("apply", write("hunter2-old"))
        out = self.cli.call("plan", write("hunter2-new")).out
        self.assertIn("    environment.PASSWORD: changed", out)
        self.assertIn("    notify: changed", out)
        self.assertIn('"hunter2-old" -> "hunter2-new"', self.cli.call("plan", path, "--show-values").out)

    def test_a_pause_by_hand_and_one_of_the_file_are_told_apart(self):
        def write(**keys):
            return self.folder.write("p.yaml", json.dumps({"jobs": {"p": {"command": ["true"], "schedule": NEVER, **keys}}}))

        self.cli.check("apply", write(paused=True))
        self.assertIn("Reason: paused in its file", self.cli.check("show", "p").out)
        self.cli.check("resume", "p")
        told = "= p: paused in its file, but resumed by hand; it stays so"
        self.assertIn(told, self.cli.check("plan", write(paused=True)).out)
        self.assertIn("no: paused in its file, but resumed by hand", self.cli.check("show", "p").out)
        self.cli.check("apply", write())
        self.cli.check("pause", "p", "--reason", "incident 42")
        for path in (write(paused=True), write()):
            self.assertIn("= p: paused by hand, by ", self.cli.check("apply", path).out)
        shown = self.cli.check("show", "p").out
        self.assertIn("yes: by hand, not in its file", shown)
        self.assertIn("incident 42", shown)

    def test_what_the_server_refuses_in_a_file_is_said(self):
        path = self.files({"a": {"command": ["true"], "engine": "dokcer"}})
        answer = self.cli.call("apply", path)
        self.assertEqual(2, answer.code, answer)
        self.assertIn("dokcer", answer.err)
        self.assertEqual([], self.cli.json("jobs"))
        # all of it, each at its place, and as the caller's fault
        path = self.folder.write("f.yaml", """jobs:
  a:
    engine: process
    image: x
    network: n
    pool: {name: none}
  b: {engine: process, command: [x], pull: always, privileged: true, init: true}
""")
        answer = self.cli.call("apply", path)
        self.assertEqual(2, answer.code, answer)
        self.assertEqual([(2, "command"), (4, "image"), (5, "network"), (6, "pool"), (7, "init"), (7, "privileged"), (7, "pull")],
                         sorted((int(n), key) for n, key in re.findall(r":(\d+):\d+: error: [ab]: (\w+):", answer.err)))
        status, answer = self.one.http("POST", "/v1/apply", {"jobs": {"a": {"image": "x", "engine": "process"}}})
        self.assertEqual((400, "invalid"), (status, answer["error"]["code"]))

    def test_exit_codes_of_a_day(self):
        self.one.apply({"good": {"command": ["true"]}, "bad": {"command": ["sh", "-c", "exit 42"]}, "slow": SLOW,
                        "child": {"after": ["good"], "command": ["true"]}})
        self.assertEqual(0, self.cli.call("trigger", "good", "--wait").code)
        self.assertEqual(1, self.cli.call("trigger", "bad", "--wait").code)
        self.assertEqual(42, self.cli.call("trigger", "bad", "--exit-code").code)
        slow = self.cli.trigger("slow")
        self.assertEqual(6, self.cli.call("trigger", "slow").code)
        self.assertEqual(7, self.cli.call("trigger", "slow", "--queue", "--wait", "--timeout", "200ms").code)
        self.cli.check("kill", slow)
        self.assertEqual("killed", self.cli.wait_end(slow)["verdict"])
        self.assertEqual(3, self.cli.call("kill", slow).code)
        self.cli.check("apply", self.folder.write("full.yaml", json.dumps({"jobs": {"full": {
            "command": ["sleep", "600"], "concurrency": "queue", "queue_max": 1}}})))
        runs = [self.cli.trigger("full"), self.cli.trigger("full")]
        self.assertEqual(6, self.cli.call("trigger", "full").code)  # a state, no wrong usage
        for run in reversed(runs):
            self.cli.check("kill", run)
        self.assertEqual(6, self.cli.call("delete", "good").code)
        self.assertEqual(2, self.cli.call("cluster", "step-down").code)
        for words in (["show", "x"], ["run", "x@20261122T030000Z"], ["trigger", "x"], ["pause", "x"],
                      ["logs", "x@20261122T030000Z"], ["backfill", "x", "--from", "2h", "--to", "now"],
                      ["explain", "x", "now"]):
            answer = self.cli.call(*words)
            self.assertEqual(3, answer.code, answer)

    def test_a_pause_ends_by_itself_and_says_so(self):
        self.one.apply({"a": {"schedule": NEVER, "command": ["true"]}})
        self.cli.check("pause", "a", "--until", f"{round(lab.scaled(1))}s", "--reason", "stock taking")
        job = self.cli.json("show", "a")
        self.assertEqual((True, "stock taking"), (job["paused"], job["pause_reason"]))
        self.assertIn("paused", self.cli.check("jobs").out)
        lab.wait_for(lambda: not self.cli.json("show", "a")["paused"], 20, lambda: "the pause to end")
        self.cli.check("pause", "--all")
        self.assertEqual(6, self.cli.call("resume", "a").code)
        self.cli.check("resume", "--all")

    def test_a_backfill_is_cancelled(self):
        self.one.apply({"slow": {"schedule": "* * * * *", "command": ["sleep", "100"]}})
        self.cli.check("backfill", "slow", "--from", "1h", "--to", "10m")
        lab.wait_for(lambda: self.cli.runs("slow"), 20, "its first run")
        answer = self.cli.check("backfill", "slow", "--cancel")
        count = int(re.search(r"slow: (\d+) fire times are given up", answer.err).group(1))
        self.assertGreaterEqual(count, 45)
        self.assertEqual({"cancel": 0}, {"cancel": self.cli.json("backfill", "slow", "--cancel")["count"]})
        self.assertIn("backfill-cancelled", self.one.log())
        self.assertEqual(2, self.cli.call("backfill", "slow", "--cancel", "--from", "1h").code)
        begun = [r for r in self.cli.runs("slow") if r["cause"] == "backfill"]  # that goes on
        self.assertEqual([None], [r["verdict"] for r in begun])
        self.cli.check("delete", "slow")

    def test_a_range_of_times_that_is_the_wrong_way_round_is_wrong_usage(self):
        for verb in ("records", "runs", "audit"):
            answer = self.cli.call(verb, "--since", "1h", "--until", "2h")
            self.assertEqual(2, answer.code, answer)
            self.assertIn("--since is later than --until", answer.err)

    def test_backfill_explain_and_audit_tell_the_same_story(self):
        self.one.apply({"a": {"schedule": "* * * * *", "command": ["true"]}})
        since = lab.instant(time.time() - 300)
        span = ["--from", since, "--to", lab.instant(time.time())]
        dry = self.cli.json("backfill", "a", *span, "--dry-run")
        self.assertEqual(dry["fire_times"], self.cli.json("backfill", "a", *span)["fire_times"])
        lab.wait_for(lambda: len(self.cli.runs("a", "--verdict", "succeeded")) >= dry["count"], 60,
                     lambda: f"{dry['count']} runs: {self.cli.runs('a')}")
        told = self.cli.json("explain", "a", dry["fire_times"][0])
        self.assertEqual("succeeded", told["verdict"], told)
        self.assertIn("backfill", self.cli.check("explain", "a", dry["fire_times"][0]).out)
        code = self.cli.call("explain", "a", "2020-01-01T00:00:30Z")
        self.assertEqual(0, code.code, code)
        answer = self.cli.call("audit", "--since", since, "--job", "a")
        self.assertEqual(0, answer.code, answer)
        self.assertIn("all accounted for", answer.out)

    def test_following_goes_on_over_a_server_that_is_killed(self):
        self.one.apply({"slow": SLOW})
        answers = []
        thread = threading.Thread(target=lambda: answers.append(self.cli.call("trigger", "slow", "--follow")))
        thread.start()
        lab.wait_for(lambda: [r for r in self.cli.runs("slow") if r["state"] == "running"], 20, lambda: "the run")
        self.one.kill()
        self.one.start()
        thread.join()
        self.assertEqual((0, LINES), (answers[0].code, answers[0].out), answers[0])
        takeovers = self.cli.json("cluster", "takeovers")
        self.assertEqual([1, 2], [r["epoch"] for r in takeovers])

    def test_the_last_lines_and_the_lines_to_come(self):
        self.one.apply({"slow": SLOW})
        run = self.cli.trigger("slow")
        self.cli.wait_end(run)
        self.assertEqual("line 5\nline 6\n", self.cli.check("logs", run, "--tail", "2").out)
        self.assertEqual("line 6\n", self.cli.check("logs", run, "--tail", "1", "-f").out)
        self.assertEqual("", self.cli.check("logs", run, "--tail", "0").out)
        self.assertEqual(LINES, self.cli.check("logs", run, "-f").out)
        self.assertEqual(3, self.cli.call("logs", run, "--attempt", "2").code)

    def test_a_log_is_followed_past_its_limit_and_its_end_is_kept(self):
        script = "for i in 1 2 3 4 5 6; do seq -f 'progress %g' 500; sleep 0.2; done; echo FATAL: no space left; exit 3"
        self.one.apply({"long": {"command": ["sh", "-c", script], "keep": {"logs": "4k"}, "retries": {"max": 1}}})
        followed = self.cli.call("trigger", "long", "--follow", "--exit-code")
        self.assertEqual(3, followed.code, followed)
        whole = "".join(f"progress {i}\n" for i in range(1, 501)) * 6 + "FATAL: no space left\n"
        self.assertEqual(2 * whole, followed.out)
        out = self.cli.check("logs", "long").out
        self.assertRegex(out, "(?s)^progress 1\nprogress 2\n.*\ncronsched: [0-9]+ bytes \\([0-9]+ lines\\) of output are "
                              "missing here: keep.logs is 4k\nprogress .*\nprogress 500\nFATAL: no space left\n$")
        self.assertIn(len(out), range(4000, 4200))
        self.assertEqual("FATAL: no space left\n", self.cli.check("logs", "long", "--tail", "1").out)
        both = self.cli.check("logs", "long", "--attempt", "all", "--tail", "1").out
        head = "--- attempt {}, exit code 3\nFATAL: no space left\n"
        self.assertEqual(head.format(1) + head.format(2), both)
        stamped = self.cli.check("logs", "long", "-t").out.splitlines()
        self.assertNone(line for line in stamped if not re.match(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z (prog|FATAL|crons)", line))
        since = stamped[-1].split()[0]
        self.assertEqual("FATAL: no space left\n", self.cli.check("logs", "long", "--since", since, "--tail", "1").out)
        self.assertEqual("", self.cli.check("logs", "long", "--since", "now").out)

    def test_doctor_cluster_and_every_list_in_every_form(self):
        self.one.apply({"good": {"schedule": NEVER, "command": ["true"]}})
        run = self.cli.trigger("good")
        self.cli.wait_end(run)
        checks = self.cli.call("doctor", "-o", "json").json()
        self.assertNotIn("error", {c["status"] for c in checks}, checks)
        cluster = self.cli.cluster()
        self.assertEqual("lab", cluster["cluster"])
        self.assertEqual(["leader"], [r["role"] for r in cluster["replicas"]])
        for words in (["jobs"], ["show", "good"], ["runs"], ["run", run], ["cluster"], ["cluster", "takeovers"],
                      ["audit", "--since", "1h"], ["explain", "good", "now"]):
            for form in ("table", "json", "yaml"):
                self.assertNotEqual("", self.cli.check(*words, "-o", form).out)

    def test_a_token_opens_what_its_role_allows(self):
        self.one.stop()
        tokens = self.folder.join("tokens")
        paths = {}
        for role in ("read", "operate", "admin"):
            token = self.cli.check("token", role, "--role", role, "--append", tokens).out
            paths[role] = self.folder.write(f"{role}.token", token)
        with socket.create_server(("127.0.0.1", 0)) as free:
            address = f"127.0.0.1:{free.getsockname()[1]}"
        self.one.config.update({"tokens_file": tokens, "listen": [*self.one.config["listen"], address]})
        self.one.start()
        self.one.apply({"good": {"command": ["true"]}})
        wanted = {None: (4, 4, 4), "read": (0, 4, 4), "operate": (0, 0, 4), "admin": (0, 0, 0)}
        for role, codes in wanted.items():
            options = ["--server", f"http://{address}"] + (["--plain-http", "--token-file", paths[role]] if role else [])
            found = tuple(self.cli.call(*words, *options).code for words in (
                ["jobs"], ["trigger", "good", "--queue"], ["apply", self.files({"good": {"command": ["true"]}})]))
            self.assertEqual(codes, found, role)
        self.hidden_from_readers({role: lab.Cli(f"unix:{self.one.socket}", {"CRONSCHED_TOKEN_FILE": path})
                                  for role, path in paths.items()})

    def hidden_from_readers(self, clis):
        """Over every GET of the API's description: a route that is new is among them."""
        self.one.apply({"sly": {"command": ["true"], "environment": {"DB_PASSWORD": "hunter2"},
                                "notify": [{"on": ["killed"], "url": "https://hooks.example/hunter2"}]}})
        run = clis["operate"].check("trigger", "sly", "--param", "key=hunter2", "--wait").out.split()[0]
        at = clis["read"].json("run", run)["fire_time"]
        with open(os.path.join(TOP, "contrib/openapi.yaml"), encoding="utf-8") as f:
            paths = re.findall(r"(?m)^  (/\S*):\n(?:    parameters:.*\n)?    get:", f.read())
        self.assertGreater(len(paths), 15)
        queries = {"/v1/explain": f"?job=sly&time={at}", "/v1/records": "?kinds=all",
                   "/v1/audit": "?since=2026-01-01T00:00:00Z", "/v1/peer/history": "?first=1&last=1"}
        shown = {role: set() for role in clis}
        for role, cli in clis.items():
            with open(cli.environment["CRONSCHED_TOKEN_FILE"], encoding="ascii") as f:
                token = f.read().strip()
            for path in [*paths, "/ui/", "/ui/jobs", "/ui/jobs/{job}", "/ui/runs", "/ui/runs/{run}"]:
                endless = path == "/v1/events"
                url = path.replace("{job}", "sly").replace("{run}", urllib.parse.quote(run)) + queries.get(path, "")
                done = subprocess.run(["curl", "-s", "--max-time", "1" if endless else "20", "--unix-socket", self.one.socket,
                                       "-H", f"Authorization: Bearer {token}", f"http://localhost{url}"],
                                      capture_output=True, text=True, check=False)
                self.assertEqual(28 if endless else 0, done.returncode, url)
                self.assertNotIn('"code":"invalid"', done.stdout, url)
                if "hunter2" in done.stdout:
                    shown[role].add(path)
        self.assertEqual(set(), shown["read"])
        for path in ("/v1/defs", "/v1/jobs/{job}", "/v1/runs/{run}", "/v1/records", "/ui/jobs/{job}", "/ui/runs/{run}"):
            self.assertIn(path, shown["operate"])
        self.assertIn("(hidden)", clis["read"].check("show", "sly").out)
        self.assertNotIn("hunter2", clis["read"].check("explain", "sly", at).out)


if __name__ == "__main__":
    lab.main()
