#!/usr/bin/python3
"""What an operator does in a day and after a bad night, against one real server that all cases share."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.parse

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lab"))
import lab  # noqa: E402
from certificates import certificates  # noqa: E402
from cli_test import Fake  # noqa: E402
from described import Description  # noqa: E402

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
NEVER = "0 0 1 1 *"  # nothing fires in the time of a test, save at New Year


def catches(pid, number):
    """Whether this process has a handler for that signal."""
    with open(f"/proc/{pid}/status", encoding="ascii") as f:
        caught = re.search(r"^SigCgt:\s*(\w+)", f.read(), re.M)
    return bool(int(caught.group(1), 16) >> (number - 1) & 1)


class Operator(lab.Suite):
    side_by_side = 1  # a large apply refuses others while it is recorded

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.shared = lab.Folder("operator")
        certificates(cls.shared.path)
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            cls.port = s.getsockname()[1]
        cls.one = lab.Server(cls.shared)
        cls.one.config.update({
            "listen": [f"unix:{cls.one.socket}", f"127.0.0.1:{cls.port}"],
            "tls": {"cert": cls.shared.join("server.pem"), "key": cls.shared.join("server.key")}})
        cls.one.start()
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

    def test_http_to_the_https_port_is_said_to_be_that(self):
        for address in (f"http://127.0.0.1:{self.port}", f"127.0.0.1:{self.port}"):
            for words in (("jobs",), ("trigger", "any"), ("delete", "any")):
                answer = lab.Cli(address).call(*words)
                self.assertEqual(2, answer.code, answer)
                self.assertIn("this address is https: write https:// before it", answer.err)

    def test_doctor_tells_when_a_certificate_ends(self):
        checks = {c["check"]: c for c in self.cli.json("doctor")}
        self.assertEqual("warning", checks["certificate"]["status"])  # it is made for two days
        self.assertIn("renew", checks["certificate"]["advice"])
        self.assertGreater(self.one.metric("cronsched_tls_certificate_expiry_timestamp_seconds"), 1.7e9)

    def test_doctor_asks_every_replica(self):
        def replica(name, *checks):
            fake = Fake(self).on("GET", "/v1/version", {"version": self.cli.json("version")["version"], "replica": name})
            return fake.on("GET", "/v1/doctor", {"replica": name, "checks": [
                {"check": check, "status": status, "text": text, "advice": None} for check, status, text in checks]})
        shared = ("replicas", "warning", "they differ in tzdata: a, b")
        first = replica("r1", ("clock", "ok", "in step"), shared)
        second = replica("r2", ("clock", "ok", "in step"), shared, ("engine docker", "error", "docker: Connection refused"))
        third = replica("r3", ("clock", "ok", "in step"))
        first.on("GET", "/v1/cluster", {"replicas": [{"id": "r1", "url": first.url}, {"id": "r2", "url": second.url},
                                                     {"id": "r3", "url": third.url}, {"id": "r4", "url": None}]})
        answer = lab.Cli(first.url).call("doctor")
        self.assertEqual(1, answer.code, answer)
        self.assertRegex(answer.out, r"(?m)^ok +clock: in step$")
        self.assertRegex(answer.out, r"(?m)^error +r2: engine docker: docker: Connection refused$")
        self.assertRegex(answer.out, r"(?m)^ok +r3: 1 checks of its own are well$")
        self.assertRegex(answer.out, r"(?m)^warning +r4: it advertises no URL")
        self.assertEqual(1, answer.out.count("they differ in tzdata"))

    def test_answers_are_as_openapi_yaml_describes_them(self):
        described = Description(TOP)
        operations = list(described.operations())
        names = [operation["operationId"] for _, _, operation in operations]
        self.assertEqual(sorted(set(names)), sorted(names))
        self.apply(**{"shape-end": {"command": ["sh", "-c", "exit 3"], "retries": {"max": 1, "delay": "0s"}, "schedule": NEVER},
                      "shape-run": {"command": ["sleep", "600"], "schedule": "@every 1m"}})
        self.cli.wait_end(self.cli.trigger("shape-end", "--param", "day=1"))
        self.cli.check("backfill", "shape-end", "--from", "2025-12-31", "--to", "2026-01-02")
        run = self.cli.trigger("shape-run")
        self.cli.check("pause", "shape-run", "--until", "tomorrow", "--reason", "so")
        since = "2026-01-01T00:00:00Z"
        queries = {"/v1/explain": [f"?job=shape-end&time={since}"], "/v1/audit": [f"?since={since}"],
                   "/v1/records": ["?kinds=all", "", "?limit=0"], "/v1/runs": ["?limit=100", "?limit=x"],
                   "/v1/peer/history": ["?first=1&last=1"]}
        wrong = []
        for method, path, operation in operations:
            if "text/event-stream" in operation["responses"].get("200", {}).get("content", {}):
                continue  # it has no end; cli_server's watch and test_events look at it
            for query in queries.get(path, [""]) if method == "GET" else []:
                for job in ("shape-end", "shape-run") if "{job}" in path else ("",):
                    url = path.replace("{job}", job).replace("{run}", urllib.parse.quote(run)) + query
                    status, answer = self.one.http("GET", url)
                    schema = described.answer_schema(operation, status)
                    if schema and not path.endswith("/logs"):
                        wrong += [f"{url} {status}{p}" for p in described.problems(answer, schema)]
        self.cli.check("kill", run)
        self.assertNone(sorted(set(re.sub(r"\[\d+\]", "[]", p) for p in wrong)))

    def test_metrics_are_as_prometheus_wants_them(self):
        text = self.one.http("GET", "/metrics")[1].decode()
        kinds = dict(re.findall(r"(?m)^# TYPE (\S+) (\S+)$", text))
        self.assertGreater(len(kinds), 50)
        self.assertEqual(set(kinds), set(re.findall(r"(?m)^# HELP (\S+) \S", text)))
        self.assertNone(name for name, kind in kinds.items() if name.endswith("_total") != (kind == "counter"))
        families = {re.sub(r"_(sum|count|bucket)$", "", n) for n in re.findall(r"(?m)^([a-z_]+)[ {]", text)}
        self.assertNone(families - set(kinds))

    def test_a_job_stands_for_its_last_run(self):
        self.apply(last={"command": ["sh", "-c", "echo hello"], "concurrency": "allow"},
                   long={"command": ["sleep", "600"], "concurrency": "allow"})
        nothing = self.cli.call("run", "last")
        self.assertEqual((3, "cronsched: no run of last has begun yet\n"), (nothing.code, nothing.err))
        run = self.cli.trigger("last")
        self.cli.wait_end(run)
        self.assertIn(run, self.cli.check("run", "last").out)
        self.assertIn(run, self.cli.check("explain", "last").out)
        self.assertEqual(self.cli.check("explain", "last").out, self.cli.check("explain", run).out)
        self.assertEqual("hello\n", self.cli.check("logs", "last").out)
        self.assertEqual(3, self.cli.call("kill", "last").code)
        runs = [self.cli.trigger("long") for _ in range(2)]
        several = self.cli.call("kill", "long")
        self.assertEqual(2, several.code)
        self.assertTrue(all(r in several.err for r in runs), several)
        self.cli.check("kill", runs[0])
        self.assertEqual("killed", self.cli.wait_end(runs[0])["verdict"])
        self.assertIn(f"{runs[1]} is asked to end", self.cli.check("kill", "long").out)
        self.assertEqual("killed", self.cli.wait_end(runs[1])["verdict"])
        self.assertEqual(3, self.cli.call("kill", "lst").code)

    def test_runs_of_no_job_are_not_found_and_a_cut_is_told(self):
        self.apply(many={"command": ["true"], "concurrency": "allow"}, none={"command": ["true"]})
        wrong = self.cli.call("runs", "mani")
        self.assertEqual(3, wrong.code)
        self.assertIn("did you mean 'many'", wrong.err)
        self.assertEqual("No runs.\n", self.cli.check("runs", "none").out)
        for _ in range(3):
            last = self.cli.trigger("many")
        self.cli.wait_end(last)
        self.assertEqual("No runs.\n", self.cli.check("runs", "many", "--verdict", "lost").out)
        cut = self.cli.check("runs", "many", "-n", "2")
        self.assertEqual(3, len(cut.out.splitlines()), cut)
        self.assertIn("FIRE TIME", cut.out)
        self.assertIn("The newest 2; there are more", cut.err)
        self.assertEqual("", self.cli.check("runs", "many", "-n", "3").err)
        self.assertEqual(2, len(self.cli.json("runs", "many", "-n", "2")))
        self.assertIn("timed-out", self.cli.call("runs", "--verdict", "x").err)

    def test_several_names_at_once_and_a_choice_of_jobs(self):
        self.apply(**{f"sev-{x}": {"schedule": NEVER, "command": ["sh", "-c", "exit 1"]} for x in "abc"})
        paused = self.cli.check("pause", "sev-a", "sev-b", "--reason", "both").out
        self.assertEqual("sev-a paused\nsev-b paused\n", paused)
        self.assertEqual({"sev-a", "sev-b"}, {j["job"] for j in self.cli.json("jobs", "--paused") if j["job"].startswith("sev-")})
        self.cli.wait_end(self.cli.trigger("sev-c"))
        self.assertIn("sev-c", [j["job"] for j in self.cli.json("jobs", "--failing")])
        self.assertNotIn("sev-a", [j["job"] for j in self.cli.json("jobs", "--failing")])
        self.cli.check("resume", "sev-a", "sev-b")
        some = self.cli.call("delete", "sev-a", "sev-x", "sev-b")
        self.assertEqual((3, "sev-a deleted\nsev-b deleted\n"), (some.code, some.out))
        self.assertEqual(2, self.cli.call("pause").code)
        self.assertEqual(2, self.cli.call("pause", "sev-c", "--all").code)
        path = self.folder.write("set.yaml", json.dumps({"jobs": {"of-set": {"command": ["true"]}}}))
        self.cli.check("apply", path, "--set", "mine")
        self.assertEqual(["of-set"], [j["job"] for j in self.cli.json("jobs", "--set", "mine")])

    def test_small_mistakes_are_told(self):
        self.apply(small={"schedule": "* * * * * *", "command": ["true"], "paused": True})
        for words, text in ((("trigger", ""), "a name is empty"), (("show", ""), "a name is empty"),
                            (("trigger", "small", "-p", "a=1", "-p", "a=2"), "--param a is given twice")):
            answer = self.cli.call(*words)
            self.assertEqual(2, answer.code, answer)
            self.assertIn(text, answer.err)
        self.assertIn("Next fire times, which the pause skips", self.cli.check("show", "small").out)
        before = self.cli.check("explain", "small", "2020-01-01").out
        self.assertIn("the job was not defined then", before)
        self.assertNotIn("The fire time", before)

    def test_a_backfill_of_nothing_says_why(self):
        self.apply(fill={"schedule": "@daily", "command": ["true"]})
        nothing = self.cli.check("backfill", "fill", "--from", "2030-01-01", "--to", "2030-02-01")
        self.assertIn("None has passed in that time without a run", nothing.err)
        self.assertEqual(2, self.cli.call("backfill", "fill", "--from", "today", "--to", "yesterday").code)

    def test_ctrl_c_says_that_the_run_goes_on(self):
        self.apply(slow={"command": ["sleep", "600"]})
        waits = subprocess.Popen([lab.binary(), "trigger", "slow", "--follow"], env=self.cli.environment, text=True,
                                 stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        self.addCleanup(waits.kill)
        lab.wait_for(lambda: self.cli.runs("slow", "--state", "running"), 20, "its run")
        run = self.cli.runs("slow")[0]["run"]
        lab.wait_for(lambda: catches(waits.pid, signal.SIGINT), 20, "its wait")
        waits.send_signal(signal.SIGINT)
        told = waits.communicate(timeout=lab.scaled(20))[1]
        self.assertEqual(-signal.SIGINT, waits.returncode, told)
        self.assertIn(f"{run} goes on: 'cronsched logs -f {run}' follows it", told)
        self.assertEqual("running", self.cli.run(run)["state"])
        self.cli.check("kill", "slow")

    def test_the_version_of_the_server_too(self):
        told = self.cli.json("version")
        self.assertEqual(told["version"], told["server"]["version"])
        self.assertRegex(self.cli.check("version").out, r"\Acronsched \S+\nserver \S+, replica \S+ of cluster lab\n\Z")
        gone = lab.Cli("unix:/nowhere/x.sock").call("version")
        self.assertEqual(5, gone.code)
        self.assertEqual(f"cronsched {told['version']}\n", gone.out)

    def test_verbs_of_other_programs_have_a_hint(self):
        for word, ours in (("list", "jobs"), ("ls", "jobs"), ("ps", "runs"), ("describe", "show"), ("start", "trigger"),
                           ("stop", "kill"), ("rm", "delete"), ("tail", "logs"), ("triger", "trigger")):
            answer = self.cli.call(word)
            self.assertEqual(2, answer.code)
            self.assertIn(f"there is no verb '{word}'; did you mean '{ours}'?", answer.err)
        self.assertIn("did you mean 'cluster step-down'?", self.cli.call("cluster", "stepdown").err)
        self.assertIn("there is no verb 'cluster xyzzy'", self.cli.call("cluster", "xyzzy").err)
        self.assertIn("--job JOB shows them", self.cli.call("next", "~ * * * *").err)


if __name__ == "__main__":
    lab.main()
