#!/usr/bin/python3
"""A real Docker Swarm of four nodes: starts, ends, logs and stops; what finds no node; the server killed at every step; a
manager killed in mid-release; a node that is cut off, and one that is drained. Starts are counted by the containers.

A day runs a part of the crash points (tests/lab/sample.py). More of each by hand: tests/bench/swarm_trials.py."""

import os
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lab"))
import lab  # noqa: E402
import sample  # noqa: E402

# Where the server dies, and with which job: "stop" has its run killed while it runs.
POINTS = ["append:arm", "submit:prepare", "swarm.create", "swarm.prepared", "acked:committed", "submit:release",
          "swarm.release", "swarm.sent", "swarm.released", "answer:accepted", "append:accepted", "acked:accepted",
          "submit:watch", "answer:started", "append:started", "swarm.ended", "append:ended", "acked:ended"]
STOP_POINTS = ["append:stopping", "submit:stop", "swarm.stopped", "answer:done"]
# A crash with a release under way, then one while the next leader settles it.
SETTLE = {"acked:committed": ["submit:fence", "swarm.fenced", "answer:never-ran", "append:never-ran"],
          "swarm.released": ["swarm.fenced", "answer:accepted"]}
ROWS = [(p,) for p in POINTS] + [(f, s) for f, seconds in SETTLE.items() for s in seconds] + [("stop", p) for p in STOP_POINTS]
PATHS = ("cronsched/engines/swarm/", "jobs/engine/swarm_fence", "tests/integration/swarm_test")



class SwarmSuite(lab.Suite):
    @classmethod
    def setUpClass(cls):
        cls.swarm = lab.shared_swarm()

    def setUp(self):
        super().setUp()
        self.ledger = lab.Ledger(self.folder)

    def begin(self, jobs=None, **config):
        server = self.server(engines={"swarm": self.swarm.engine()}, config=config)
        server.start()
        if jobs:
            server.apply(jobs)
        return server

    def job(self, body="true", **keys):
        return lab.swarm_job(self.ledger, body, **keys)

    def trapping(self, body, **keys):
        """A job whose first process is the shell that has the trap; its end is not in the ledger."""
        note = "read up rest < /proc/uptime; echo start $CRONSCHED_RUN $CRONSCHED_ATTEMPT $up >> /ledger/lines; "
        return {**self.job(**keys), "command": ["sh", "-c", f"trap {body} TERM; {note} while :; do sleep 0.05; done"]}

    def started(self, run, seconds=60):
        lab.wait_for(lambda: self.ledger.starts(run), seconds, f"the start of {run}")
        return run

    def gone(self, run):
        lab.wait_for(lambda: not self.swarm.services(cronsched__run=run), 60, f"the service of {run} to go", every=0.3)


class Runs(SwarmSuite):
    """What a job says, and what becomes of it."""

    side_by_side = 6

    def test_exit_code_output_and_what_is_written_arrive_as_they_are(self):
        text = "{{.Node.ID}} {{ 1 }} }}{{ $X"
        server = self.begin({"j": self.job("echo out $TEXT; echo err >&2; sleep 1; printf last; exit 3", labels={"a": "{{.Node.ID}}"},
                                           environment={"TEXT": text})})
        run = server.cli.trigger("j", "--param", "p={{.Service.Name}}")
        self.started(run)
        service = self.swarm.services(cronsched__run=run)[0]
        self.assertEqual("{{.Node.ID}}", service["Spec"]["Labels"]["a"])
        found = server.cli.wait_end(run)
        self.assertEqual(("failed", 3, 1), (found["verdict"], found["exit_code"], len(found["attempts"])), found)
        self.assertEqual(service["ID"], found["attempts"][0]["id"])
        out = server.cli.check("logs", run).out
        self.assertEqual(["err", f"out {text}"], sorted(out.splitlines()[:2]), out)
        self.assertTrue(out.endswith("last"), out)
        self.assertEqual(1, self.ledger.starts(run))
        self.gone(run)

    def test_what_cannot_be_started_is_said_and_never_ran(self):
        server = self.begin({"image": self.job(image="no/such:image"), "command": {**self.job(), "command": ["/no/such"]},
                             "secret": self.job(secrets=["nope"]), "network": self.job(network="nonet"),
                             "folder": self.job(volumes=["/no/such/folder:/x"])})
        expected = {"image": (None, "No such image"), "command": (127, "command not found in the image"),
                    "secret": (None, "secrets: the Swarm has no 'nope'"), "network": (None, "network nonet not found"),
                    "folder": (None, "bind source path does not exist")}
        runs = {job: server.cli.trigger(job) for job in expected}
        for job, (code, text) in expected.items():
            found = server.cli.wait_end(runs[job])
            self.assertEqual(("failed", code), (found["verdict"], found["exit_code"]), found)
            self.assertIn(text, found["attempts"][0]["text"])
            self.assertNone(server.cli.run(runs[job])["started"] or [])
        self.assertEqual({}, self.ledger.starts())

    def guarded(self, body, **keys):
        """A job whose entrypoint is known."""
        return {**self.job(**keys), "entrypoint": ["sh", "-c"], "command": [self.ledger.script("/ledger/lines", body)]}

    def test_the_start_guard_lets_everything_through(self):
        """Exit codes, signals, arguments, users, a root that cannot be written; and it says where it is not."""
        text = "trap 'exit 6' TERM; while :; do sleep 0.05; done"
        jobs = {"code": self.guarded("exit 3"), "user": self.guarded("id -u >&2; exit 4", user="1000:1000"),
                "read-only": self.guarded("exit 5", read_only=True), "plain": self.job("exit 7"),
                "stop": {**self.job(timeout="1s", stop_grace="8s"), "entrypoint": [], "command": ["sh", "-c", text]},
                "path": {**self.job(), "entrypoint": [], "command": ["no-such-program", "$x", "{{y}}"]}}
        server = self.begin(jobs)
        runs = {job: server.cli.trigger(job) for job in jobs}
        for job, code in {"code": 3, "user": 4, "read-only": 5, "plain": 7, "stop": 6, "path": 127}.items():
            found = server.cli.wait_end(runs[job])
            self.assertEqual(code, found["exit_code"], found)
            said = server.cli.check("explain", job, found["fire_time"]).out
            self.assertEqual(job == "plain", "not guarded" in said, said)
        self.assertEqual("cronsched: no-such-program: command not found in the image\n", server.cli.check("logs", runs["path"]).out)

    def test_doctor_names_what_would_better_be_otherwise(self):
        server = self.begin()
        lab.wait_for(lambda: "Swarm of 4 nodes" in server.cli.call("doctor").out, 20, "the manager's answer")
        said = server.cli.call("doctor").out
        self.assertRegex(said, r"ok +engine swarm: swarm: docker [^ ]+, API 1\.[0-9]+, Swarm of 4 nodes, 3 of them managers")
        self.assertRegex(said, r"warning +engine swarm.*(\n.*)?cut off for 3 s has its jobs killed")

    def test_the_examples_are_right(self):
        jobs = os.path.join(lab.TOP, "contrib", "examples", "swarm", "jobs.yaml")
        server = self.begin()
        self.assertEqual("", server.cli.check("validate", jobs).err)
        self.assertIn("+ report", server.cli.check("apply", jobs).out)  # which asks the engine, too

    def test_secrets_and_configs_are_files(self):
        name = os.path.basename(self.folder.path)
        for kind in ("secrets", "configs"):
            for suffix in ("", "x"):  # the Swarm's filter takes both
                self.swarm.call("POST", f"/{kind}/create", {"Name": name + suffix, "Data": "dGhlIHZhbHVl"})
        server = self.begin({"j": self.job(f"cat /run/secrets/{name} /{name}", secrets=[name], configs=[name])})
        run = server.cli.trigger("j")
        self.assertEqual("succeeded", server.cli.wait_end(run)["verdict"])
        self.assertEqual("the valuethe value", server.cli.check("logs", run).out)

    def test_a_node_pulls_with_the_credentials_of_its_registry(self):
        """The registry is on the loopback of one node, which alone can reach it."""
        with open(self.folder.join("root.tar"), "wb") as f:
            f.write(lab.busybox_root())
        registry = lab.Service(self.folder.make("registry"), "registry")
        registry.spawn(["nsenter", "-t", str(self.swarm.nodes[3].inside), "-n", sys.executable, os.path.join(
            lab.TOP, "tests", "lab", "registry.py"), registry.path, self.folder.join("root.tar"), "ci:pa:ss/w+rd", "5000=basic",
            "5001=basic"])
        self.addCleanup(registry.kill)
        lab.wait_for(lambda: "ready" in registry.log(), 20, registry.log_tail)
        own = {"username": "ci", "from_file": self.folder.write("password", "pa:ss/w+rd\n")}
        lost = {"username": "ci", "from_file": self.folder.join("missing")}
        server = self.server(engines={"swarm": self.swarm.engine(registries={"127.0.0.1:5000": own, "127.0.0.1:5002": lost})})
        server.start()
        server.apply({name: {**self.job(constraints=["node.hostname == node4"]), "image": f"127.0.0.1:{port}/acme/{name}:1"}
                      for name, port in (("own", 5000), ("nobody", 5001), ("lost", 5002))})
        runs = {name: server.cli.trigger(name) for name in ("own", "nobody", "lost")}
        found = {name: server.cli.wait_end(run) for name, run in runs.items()}
        self.assertEqual(["succeeded", "failed", "failed"], [f["verdict"] for f in found.values()], found)
        self.assertIn("No such image", str(found["nobody"]))
        self.assertIn("registries: 127.0.0.1:5002: the file ", str(found["lost"]))
        self.assertEqual(1, len(self.ledger.starts()))

    def test_a_stop_has_its_exit_code_and_the_last_line(self):
        body = "'echo bye; exit 7'"
        server = self.begin({"late": self.trapping(body, timeout="2s", stop_grace="8s"),
                             "killed": self.trapping(body, stop_grace="8s")})
        late, killed = server.cli.trigger("late"), self.started(server.cli.trigger("killed"))
        server.cli.check("kill", killed)
        for run, verdict in ((late, "timed-out"), (killed, "killed")):
            found = server.cli.wait_end(run)
            self.assertEqual((verdict, 7), (found["verdict"], found["exit_code"]), found)
            self.assertEqual("bye\n", server.cli.check("logs", run).out)

    def test_what_finds_no_node_says_why_and_is_withdrawn(self):
        jobs = {"j": self.job(constraints=["node.labels.none == x"], start_within="4s"),
                "later": self.job(constraints=["node.labels.none == x"])}
        server = self.begin(jobs)
        run, later = server.cli.trigger("j"), server.cli.trigger("later")
        why = "no suitable node (scheduling constraints not satisfied on 4 nodes)"
        lab.wait_for(lambda: why in str(server.cli.run(run)), 20, "the Swarm's words")
        self.assertEqual("starting", server.cli.run(run)["state"])
        found = server.cli.wait_end(run)
        self.assertEqual("deadline", found["verdict"], found)
        self.assertIn(why, found["text"])
        self.assertIn(why, server.cli.check("explain", "j", found["fire_time"]).out)
        server.cli.check("kill", later)
        self.assertEqual("killed", server.cli.wait_end(later)["verdict"])
        self.assertEqual({}, self.ledger.starts())
        self.gone(run)
        self.gone(later)


class Crashes(SwarmSuite):
    """The server killed with SIGKILL at a step, and started again."""

    side_by_side = 6

    @classmethod
    def sample(cls, names):
        return sample.chosen("swarm", names, lambda name: sample.Group("crash points", PATHS, 6, 3))

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.done = []

    @classmethod
    def tearDownClass(cls):
        doubles = sum(starts > 1 for _, starts in cls.done)
        lab.say(f"swarm: {len(cls.done)} crash points, {doubles} doubles, {sum(s == 1 for _, s in cls.done)} started once")

    def crash(self, row):
        self.need_faults()
        stop = row[0] == "stop"
        server = self.begin({"j": self.trapping("'exit 5'", stop_grace="5s") if stop else self.job("sleep 0.3")})
        server.kill()
        for number, point in enumerate(row[1:] if stop else row):
            server.launch(CRONSCHED_CRASH_AT=point)
            lab.wait_for(server.ready_or_dead, 60, lambda: server.log_tail(), every=0.02)
            if number == 0 and server.running():
                client = server.cli.begin("trigger", "j", "--key", "the-one")
                if stop:
                    lab.wait_for(lambda: self.ledger.starts(), 30, "the start")
                    killer = server.cli.begin("kill", next(iter(self.ledger.starts())))
            struck = server.wait_crash(30)
            self.assertTrue(struck, f"{point} was never passed; {server.log_tail(20)}")
        for process in (client, *([killer] if stop else [])):
            process.kill()
            process.wait()
        server.start()
        run = server.cli.trigger("j", "--key", "the-one")
        if stop:
            server.cli.call("kill", run)
        found = server.cli.wait_end(run, 90)
        self.done.append((row, self.ledger.starts(run)))
        self.assertEqual(("killed" if stop else "succeeded", 1), (found["verdict"], self.ledger.starts(run)), found)
        self.gone(run)
        server.stop()


for _row in ROWS:
    setattr(Crashes, "test_" + "_then_".join(_row).replace(":", "_").replace(".", "_").replace("-", "_"),
            lambda self, row=_row: self.crash(row))


class Trouble(SwarmSuite):
    """Of the Swarm itself: one at a time."""

    def all_ready(self):
        lab.wait_for(lambda: self.swarm.ready() == 4 and self.swarm.leader() is not None, 90, "all nodes to be ready", every=0.3)

    def test_the_managers_leader_is_killed_with_releases_under_way(self):
        server = self.begin({f"j{i}": self.job("sleep 0.2; exit $((RANDOM % 2))") for i in range(8)})
        leader = self.swarm.leader()
        runs = [server.cli.begin("trigger", f"j{i}") for i in range(8)]
        lab.quiet_for(0.05)
        self.swarm.nodes[leader].kill()
        began = time.monotonic()
        for process in runs:
            process.wait(lab.scaled(60))
        self.swarm.nodes[leader].start()
        self.all_ready()
        found = [server.cli.wait_end(r["run"], 120) for r in server.cli.runs()]
        self.assertEqual(8, len(found))
        starts = self.ledger.starts()
        for run in found:
            self.assertIn(run["verdict"], ("succeeded", "failed", "lost"), run)
            self.assertLessEqual(starts[run["run"]], 1, run)
            self.assertTrue(starts[run["run"]] == 1 or run["verdict"] == "lost", run)
        lab.say(f"the leader of the Swarm killed with 8 releases under way: {sum(starts.values())} starts, "
                f"{sum(r['verdict'] == 'lost' for r in found)} lost with evidence, {time.monotonic() - began:.1f} s")

    def test_a_node_that_is_cut_off_is_told_and_what_ended_on_it_has_its_exit_code(self):
        server = self.begin({"j": self.job("sleep 3; exit 4", constraints=["node.role == worker"])})
        run = self.started(server.cli.trigger("j"))
        node = self.swarm.node_of(run)
        self.swarm.cut(node)
        try:
            lab.wait_for(lambda: server.cli.run(run)["state"] == "unresolved", 60, lambda: f"{server.cli.run(run)}")
            self.assertRegex(server.cli.run(run)["text"], f"node{node + 1} is down.*; its container may run on")
            lab.quiet_for(1.5)
            told = [r for r in server.http("GET", "/v1/records?kinds=unresolved")[1] if r["record"]["run"] == run]
            self.assertEqual(1, len(told), told)  # and it is not told again and again
        finally:
            self.swarm.heal(node)
        found = server.cli.wait_end(run, 90)
        self.assertEqual(("failed", 4, 1), (found["verdict"], found["exit_code"], self.ledger.starts(run)), found)
        self.all_ready()

    def test_a_container_that_is_started_again_does_not_run_twice(self):
        """As the agent of a worker does whose engine was killed in mid-start; here by hand, so that it is sure. The engine has
        no config for it any more, or the guard finds its mark."""
        job = {**self.job(constraints=["node.role == worker"]), "entrypoint": ["sh", "-c"],
               "command": [self.ledger.script("/ledger/lines", "exit 3")]}
        server = self.begin({"j": job})
        run = self.started(server.cli.trigger("j"))
        worker = self.swarm.nodes[3].api
        name = "cs-" + self.swarm.services(cronsched__run=run)[0]["Spec"]["Name"][3:]
        mine = [c for c in worker.call("GET", "/containers/json?all=1")[1]
                if c["Labels"].get("com.docker.swarm.service.name") == name]
        self.assertEqual(3, server.cli.wait_end(run)["exit_code"])
        for container in mine:
            status, said = worker.call("POST", f"/containers/{container['Id']}/start")
            if status == 204:
                said = worker.call("POST", f"/containers/{container['Id']}/wait", timeout=20)[1]["StatusCode"]
            self.assertRegex(str(said), "^125$|config|No such container", str(said))
        self.assertEqual(1, self.ledger.starts(run))

    def test_what_a_drained_node_ends_did_not_succeed(self):
        server = self.begin({"j": self.trapping("'exit 0'")})
        run = self.started(server.cli.trigger("j"))
        node = self.swarm.node_of(run)
        self.swarm.update_node(node, Availability="drain")
        try:
            found = server.cli.wait_end(run, 60)
        finally:
            self.swarm.update_node(node, Availability="active")
        self.assertEqual("failed", found["verdict"], found)
        self.assertIn("ended it", found["attempts"][0]["text"])
        self.assertEqual(1, self.ledger.starts(run))


class Guard(lab.Suite):
    """The start guard itself, as a program of this machine."""

    def guard(self, *words, **environment):
        done = subprocess.run([lab.binary("start-guard"), *words], env=environment or os.environ, capture_output=True, text=True,
                              check=False)
        return done.returncode, done.stdout, done.stderr

    def test_it_starts_a_program_once(self):
        mark = self.folder.join("mark")
        self.assertEqual((0, "a  b\n", ""), self.guard(mark, "/bin/echo", "a  b"))
        code, out, err = self.guard(mark, "/bin/echo", "a  b")
        self.assertEqual((125, ""), (code, out))
        self.assertIn("the engine started this container again", err)

    def test_where_no_mark_can_be_made_the_program_runs(self):
        self.assertEqual((3, "", ""), self.guard("/proc/nothing/mark", "sh", "-c", "exit 3"))

    def test_a_program_is_found_as_the_runtime_finds_it(self):
        tool = self.folder.write("bin/tool", "#!/bin/sh\necho $0 $A\n", 0o755)
        self.folder.write("bin/text", "no program", 0o644)
        path = f"/no/such::{self.folder.join('bin')}"
        self.assertEqual((0, f"{tool} x\n", ""), self.guard(self.folder.join("a"), "tool", PATH=path, A="x"))
        self.assertEqual(127, self.guard(self.folder.join("b"), "none", PATH=path)[0])
        self.assertEqual(126, self.guard(self.folder.join("c"), "text", PATH=path)[0])
        self.assertEqual(127, self.guard(self.folder.join("d"), self.folder.join("none"))[0])
        self.assertEqual(127, self.guard(self.folder.join("e"), "n" * 5000, PATH=path)[0])


if __name__ == "__main__":
    lab.main()
