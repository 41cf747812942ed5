#!/usr/bin/python3
"""Jobs in real containers: what reaches them, what comes back, and what happens when the engine is away."""

import base64
import json
import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lab"))
import lab  # noqa: E402


class Containers(lab.Suite):
    side_by_side = 2

    @classmethod
    def setUpClass(cls):
        cls.dockerd = lab.shared_docker()

    def setUp(self):
        super().setUp()
        self.ledger = lab.Ledger(self.folder)

    def begin(self, jobs, **config):
        server = self.server(engines={"docker": lab.docker_engine(self.dockerd)}, config=config)
        server.start()
        server.apply(jobs)
        return server

    def job(self, body="true", **keys):
        return self.ledger.docker_job(body, **{"network": "bridge", **keys})

    def sh(self, script, **keys):
        return {"image": lab.IMAGE, "pull": "never", "network": "host", "command": ["sh", "-c", script], **keys}

    def containers_of(self, run):
        return self.dockerd.api.containers(cronsched__run=run)

    def test_a_trigger_runs_a_container(self):
        server = self.begin({"j": self.job("echo said in the container")})
        run = server.cli.wait_end(server.cli.trigger("j"))
        self.assertEqual(("succeeded", 0), (run["verdict"], run["exit_code"]))
        self.assertEqual(1, self.ledger.starts(run["run"]))
        self.assertEqual("docker", run["attempts"][0]["engine"])
        self.assertTrue(run["attempts"][0]["id"])
        self.assertIn("said in the container", server.cli.check("logs", run["run"]).out)
        server.stop()

    def test_a_schedule_fires_on_time(self):
        t = int(time.time()) + 4
        server = self.begin({"j": self.job(schedule=f"@at {lab.instant(t)}")})
        run = server.cli.wait_end(lab.run_id("j", t), 30)
        self.assertEqual("succeeded", run["verdict"])
        start = [x for x in self.ledger.lines() if x.what == "start"][0]
        self.assertGreaterEqual(start.wall, t - 0.02)
        self.promised("start of a container at a fire time", start.wall - t, server, ceiling_s=10)

    def test_after_an_outage_the_newest_fire_time_runs_on_every_engine(self):
        """By the defaults, with a run armed on each when the server was killed."""
        every = "*/3 * * * * *"
        jobs = {"docker": self.job(schedule=every), "process": self.ledger.process_job(schedule=every),
                "nothing": {"engine": "nothing", "schedule": every}}
        server = self.server(engines={"docker": lab.docker_engine(self.dockerd), "process": {"type": "process"},
                                      "nothing": {"type": "null"}}, config={"late_grace": "1s"})
        server.start()
        server.apply(jobs)
        lab.wait_for(lambda: all(any(r["verdict"] == "succeeded" for r in server.cli.runs(j)) for j in jobs), 60,
                     "a run on each engine")
        server.kill()
        down = int(time.time()) + 1
        lab.quiet_for(10)
        server.start()
        back = int(time.time())
        for job in jobs:
            def ran(job=job):
                """Fire times since the kill that ran, the oldest first. What was due while the server started may be the
                newest one of all."""
                return sorted(t for t in (lab.parse_instant(r["fire_time"]) for r in server.cli.runs(job)
                                          if r["verdict"] == "succeeded") if t >= down)
            lab.wait_for(ran, 60, f"a fire time of the outage to run, of {job}")
            first = ran()[0]
            self.assertGreaterEqual(first, back - 4, job)
            skipped = [r for r in server.cli.runs(job) if down <= lab.parse_instant(r["fire_time"]) < first]
            # what was armed and due at the kill is settled by the engine, and the null engine has forgotten it
            allowed = {"coalesced", "lost"} if job == "nothing" else {"coalesced"}
            self.assertLessEqual({r["verdict"] for r in skipped}, allowed, job)
        answer = server.cli.audit(lab.instant(down), lab.instant(back))
        self.assertEqual(0, answer.code, answer)

    def test_containers_are_labelled_and_named_for_their_run(self):
        server = self.begin({"j": self.job()})
        run = server.cli.wait_end(server.cli.trigger("j"))
        found = self.containers_of(run["run"])
        self.assertEqual(1, len(found))
        labels = found[0]["Labels"]
        self.assertEqual("j", labels["cronsched.job"])
        self.assertEqual("1", labels["cronsched.attempt"])
        self.assertLessEqual({"cronsched.cluster", "cronsched.epoch"}, set(labels))
        self.assertRegex(found[0]["Names"][0], r"^/cs-[0-9a-f]+$")

    def test_what_a_job_says_reaches_its_container(self):
        out = self.folder.make("out", mode=0o777)
        script = ("(id -u; pwd; echo $GREETING; cat /sys/fs/cgroup/memory.max "
                  "/sys/fs/cgroup/memory/memory.limit_in_bytes 2>/dev/null; touch /out/x; ls /ro; touch /ro/x) "
                  "> /out/said 2>&1; true")
        server = self.begin({"j": self.sh(
            script, user="1234:1234", working_dir="/tmp", environment={"GREETING": "hello there"},
            volumes=[f"{out}:/out", f"{self.folder.make('ro')}:/ro:ro"], resources={"cpus": 0.5, "memory": "64m"})})
        run = server.cli.wait_end(server.cli.trigger("j"))
        self.assertEqual("succeeded", run["verdict"], run)
        said = self.folder.read("out/said").split("\n")
        self.assertEqual(["1234", "/tmp", "hello there"], said[:3], said)
        self.assertIn(str(64 * 1024 * 1024), said)
        self.assertTrue(any("ead-only" in line for line in said), said)
        inspected = self.dockerd.api.inspect(run["attempts"][0]["id"])
        self.assertEqual("no", inspected["HostConfig"]["RestartPolicy"]["Name"])
        self.assertFalse(inspected["HostConfig"]["AutoRemove"])

    def test_values_from_files_stay_out_of_the_journal(self):
        secret = self.folder.write("secret", "s3cr3t-of-the-lab\n")
        server = self.begin({"j": self.sh("[ ${#TOKEN} -eq 17 ]",
                                          environment={"TOKEN": {"from_file": secret}})})
        run = server.cli.wait_end(server.cli.trigger("j"))
        self.assertEqual("succeeded", run["verdict"], run)
        server.stop()
        for folder, _, files in os.walk(server.data):
            for f in files:
                with open(os.path.join(folder, f), "rb") as data:
                    self.assertNotIn(b"s3cr3t-of-the-lab", data.read(), f)
        self.assertNotIn("s3cr3t-of-the-lab", server.log())

    def test_a_missing_image_is_a_clear_failure(self):
        server = self.begin({"j": {"image": "no-such-image:1", "pull": "never", "command": ["true"]}})
        run = server.cli.wait_end(server.cli.trigger("j"))
        self.assertEqual("failed", run["verdict"])
        self.assertIn("no-such-image:1", server.cli.check("run", run["run"], "-o", "json").out)

    def test_a_missing_command_is_exit_127_and_explained(self):
        server = self.begin({"j": {"image": lab.IMAGE, "pull": "never", "command": ["/no/such/program"]}})
        run = server.cli.wait_end(server.cli.trigger("j"))
        self.assertEqual(("failed", 127), (run["verdict"], run["exit_code"]))
        self.assertIn("/no/such/program", server.cli.check("run", run["run"], "-o", "json").out)

    def test_exit_codes_timeouts_and_kills_come_back(self):
        server = self.begin({"bad": self.sh("exit 42"), "slow": self.sh("sleep 60", timeout="1s", stop_grace="1s"),
                             "endless": self.sh("sleep 60", stop_grace="1s")})
        runs = {j: server.cli.trigger(j) for j in ("bad", "slow", "endless")}
        bad = server.cli.wait_end(runs["bad"])
        self.assertEqual(("failed", 42), (bad["verdict"], bad["exit_code"]))
        lab.wait_for(lambda: server.cli.run(runs["endless"])["state"] == "running", 30, "the start")
        server.cli.check("kill", runs["endless"])
        self.assertEqual("killed", server.cli.wait_end(runs["endless"])["verdict"])
        self.assertEqual("timed-out", server.cli.wait_end(runs["slow"])["verdict"])

    def test_a_container_that_eats_too_much_memory_is_told_apart(self):
        server = self.begin({"j": self.sh("tail /dev/zero", resources={"memory": "16m"})})
        run = server.cli.wait_end(server.cli.trigger("j"))
        self.assertEqual("failed", run["verdict"])
        self.assertIn("memory", server.cli.check("run", run["run"], "-o", "json").out.lower())

    def test_of_long_output_both_ends_are_kept_and_the_job_ends_well(self):
        server = self.begin({"j": self.sh("echo first; yes 0123456789 | head -c 3000000; echo; echo FATAL; sleep 2; exit 3",
                                          keep={"logs": "64k"})})
        run = server.cli.wait_end(server.cli.trigger("j"), 90)
        self.assertEqual(("failed", 3), (run["verdict"], run["exit_code"]))
        out = server.cli.check("logs", "j").out
        self.assertTrue(out.startswith("first\n0123456789\n"), out[:99])
        self.assertTrue(out.endswith("0123456789\n012\nFATAL\n"), out[-99:])
        self.assertIn("of output are missing here: keep.logs is 64k\n", out)
        self.assertIn(len(out), range(56_000, 65_700))
        self.assertEqual("FATAL\n", server.cli.check("logs", "j", "--tail", 1).out)

    def test_output_that_the_engine_rotated_away_is_told_where_it_is_missing(self):
        """The server is away while its engine's own log, two files of a megabyte, is written over."""
        out = self.folder.make("out", mode=0o777)
        script = ("echo begun; while [ ! -e /out/go ]; do sleep 0.1; done; yes 0123456789abcdef | head -n 60000;"
                  "echo last words; touch /out/done")
        server = self.begin({"j": self.sh(script, keep={"logs": "64k"}, volumes=[f"{out}:/out"])})
        run = server.cli.trigger("j")
        lab.wait_for(lambda: "begun" in server.cli.call("logs", run).out, 30, "the first line")
        server.kill()
        container = self.containers_of(run)[0]["Id"]
        self.folder.write("out/go", "")
        lab.wait_for(lambda: self.dockerd.api.inspect(container)["State"]["Status"] == "exited", 60, "the end")
        server.start()
        self.assertEqual("succeeded", server.cli.wait_end(run, 60)["verdict"])
        lines = server.cli.check("logs", run).out.splitlines()
        self.assertEqual(("begun", "last words"), (lines[0], lines[-1]))
        self.assertRegex(lines[1], "^cronsched: output lost between 20.*Z and 20.*Z: the engine had rotated")
        self.assertRegex("\n".join(sorted(set(lines[2:-1]))), r"\A([0-9a-f]*\n)?0123456789abcdef\ncronsched: .* are missing here: [^\n]*\Z")
        stamped = server.cli.check("logs", run, "--timestamps").out.splitlines()
        self.assertEqual(sorted(line.split(" ")[0] for line in stamped), [line.split(" ")[0] for line in stamped])
        since = stamped[-1].split(" ")[0]
        self.assertEqual("last words\n", server.cli.check("logs", run, "--since", since).out)

    def test_constraints_are_refused_on_a_single_engine(self):
        server = self.begin({})
        path = self.folder.write("c.yaml", '{"jobs": {"c": {"image": "x", "constraints": ["node.role==worker"]}}}')
        answer = server.cli.call("apply", path)
        self.assertNotIn(answer.code, (0, 64))
        self.assertIn("constraints", answer.err)

    def test_an_engine_that_is_not_there_harms_only_its_own_jobs(self):
        server = self.server(engines={"docker": {"type": "docker", "endpoint": f"unix://{self.folder.join('none.sock')}"},
                                      "process": {"type": "process"}}, default_engine="process")
        server.start()
        server.apply({"c": self.job(start_within="2s"), "p": self.ledger.process_job()})
        waiting = server.cli.trigger("c")
        self.assertEqual("succeeded", server.cli.wait_end(server.cli.trigger("p"))["verdict"])
        self.assertEqual("deadline", server.cli.wait_end(waiting, 40)["verdict"])
        server.stop()

    def test_fallback_engine_is_used_when_the_first_has_provably_not_started(self):
        server = self.server(engines={"away": {"type": "docker", "endpoint": f"unix://{self.folder.join('none.sock')}"},
                                      "docker": lab.docker_engine(self.dockerd)}, default_engine="docker")
        server.start()
        server.apply({"j": self.job() | {"engine": ["away", "docker"]}})
        run = server.cli.wait_end(server.cli.trigger("j"), 60)
        self.assertEqual("succeeded", run["verdict"])
        self.assertEqual(1, self.ledger.starts(run["run"]))

    def test_an_engine_that_is_back_is_not_waited_for(self):
        """What could not be prepared waited on for its back-off, up to half a minute after the engine was back."""
        path = self.folder.join("later.sock")
        server = self.server(engines={"docker": {**lab.docker_engine(self.dockerd), "endpoint": f"unix://{path}"}})
        server.start()
        server.apply({"j": self.job()})
        run, since = server.cli.trigger("j"), time.time()
        lab.quiet_for(17)  # a long back-off: it tries at 15.5 to 19, then at 31.5 s
        os.symlink(self.dockerd.endpoint.removeprefix("unix://"), path)
        back = time.time()
        server.cli.wait_end(run, 60)
        start = [x for x in self.ledger.lines() if x.what == "start"][0]
        self.assertLess(start.wall - back, 10)

    def test_a_restart_adopts_a_running_container(self):
        server = self.begin({"j": self.job("sleep 4; exit 3")})
        run = server.cli.trigger("j")
        lab.wait_for(lambda: self.ledger.starts(run), 30, "the start")
        server.kill()
        server.start()
        found = server.cli.wait_end(run)
        self.assertEqual(("failed", 3), (found["verdict"], found["exit_code"]))
        self.assertEqual(1, self.ledger.starts(run))
        self.assertEqual(1, len(self.containers_of(run)))

    def test_a_container_that_ended_while_nobody_watched_has_its_exit_code_and_log(self):
        server = self.begin({"j": self.job("echo last words; sleep 1; exit 9")})
        run = server.cli.trigger("j")
        lab.wait_for(lambda: self.ledger.starts(run), 30, "the start")
        server.kill()
        lab.wait_for(lambda: [x for x in self.ledger.lines() if x.what == "end"], 20, "the end")
        server.start()
        found = server.cli.wait_end(run)
        self.assertEqual(("failed", 9), (found["verdict"], found["exit_code"]))
        self.assertIn("last words", server.cli.check("logs", run).out)

    def test_a_container_removed_behind_its_back_is_not_run_again(self):
        """It is lost, unless the engine still remembers the event of its end."""
        server = self.begin({"j": self.job("sleep 60")})
        run = server.cli.trigger("j")
        lab.wait_for(lambda: server.cli.run(run)["state"] == "running", 30, "the state running")
        lab.wait_for(lambda: self.ledger.starts(run), 30, "the command's own line")
        server.kill()
        for container in self.containers_of(run):
            self.dockerd.api.remove(container["Id"])
        server.start()
        end = server.cli.wait_end(run)
        self.assertIn((end["verdict"], end["exit_code"]), (("lost", None), ("failed", 137)))
        self.assertEqual(1, self.ledger.starts(run))

    def test_a_container_restarted_by_hand_is_one_run_that_keeps_its_job_busy(self):
        server = self.begin({"j": self.sh("sleep 5; exit 3")})
        run = server.cli.trigger("j")
        lab.wait_for(lambda: server.cli.run(run)["state"] == "running", 30, "the container")
        container = server.cli.run(run)["attempts"][0]["id"]
        self.assertEqual(204, self.dockerd.api.call("POST", f"/containers/{container}/restart?t=0")[0])
        lab.wait_for(lambda: server.cli.run(run)["attempts"][0].get("starts") == 2, 20, "the second start")
        self.assertEqual("running", server.cli.run(run)["state"])
        self.assertEqual(6, server.cli.call("trigger", "j").code)  # forbid
        ended = server.cli.wait_end(run)
        self.assertEqual(("failed", 3), (ended["verdict"], ended["exit_code"]))
        self.assertEqual(2, ended["attempts"][0]["starts"])
        self.assertIn("was started 2 times", server.cli.check("explain", "j", ended["fire_time"]).out)
        self.assertEqual(1, server.metric("cronsched_started_again_total"))
        self.assertIn("started-again", server.log())

    def test_a_container_started_after_its_end_keeps_its_job_busy(self):
        server = self.begin({"j": self.sh("sleep 4")})
        first = server.cli.wait_end(server.cli.trigger("j"))
        container = first["attempts"][0]["id"]
        self.assertEqual(204, self.dockerd.api.call("POST", f"/containers/{container}/start")[0])
        lab.wait_for(lambda: server.metric("cronsched_started_again_total") == 1, 20, "the stray")
        second = server.cli.wait_end(server.cli.trigger("j", "--queue"))
        over = self.dockerd.api.inspect(container)["State"]["FinishedAt"]
        self.assertGreater(second["started"][:23], over[:23])
        self.assertIn("runs, though by the journal it does not", server.cli.check("explain", "j", first["fire_time"]).out)

    def test_an_armed_container_started_by_hand_is_not_started_twice(self):
        t = int(time.time()) + 12
        server = self.begin({"j": self.job(schedule=f"@at {lab.instant(t)}")})
        run = lab.run_id("j", t)
        lab.wait_for(lambda: self.containers_of(run), 10, "the armed container")
        container = self.containers_of(run)[0]["Id"]  # it may be listed a moment before it can be started
        lab.wait_for(lambda: self.dockerd.api.call("POST", f"/containers/{container}/start")[0] == 204, 10, "its start")
        self.assertEqual("succeeded", server.cli.wait_end(run, 40)["verdict"])
        self.assertEqual(1, self.ledger.starts(run))
        self.assertIn("somebody else had started", server.cli.check("explain", "j", lab.instant(t)).out)
        self.assertIn("started-early", server.log())

    def test_an_engine_that_comes_back_is_told_and_what_waited_starts(self):
        link = self.folder.join("late.sock")
        server = self.server(engines={"docker": {"type": "docker", "endpoint": f"unix://{link}"}})
        server.start()
        server.apply({"j": self.job()})
        run = server.cli.trigger("j")
        lab.wait_for(lambda: "engine-unreachable" in server.log(), 20, "word that it is away")
        os.symlink(self.dockerd.socket, link)
        lab.wait_for(lambda: "engine-back" in server.log(), 20, "word that it is back")
        self.assertEqual("succeeded", server.cli.wait_end(run)["verdict"])
        self.assertEqual(1, self.ledger.starts(run))

    def test_prepared_containers_of_an_edited_job_go_away(self):
        t = int(time.time()) + 25
        server = self.begin({"j": self.job(schedule=f"@at {lab.instant(t)}")})
        run = lab.run_id("j", t)
        lab.wait_for(lambda: server.cli.run(run)["attempts"][0]["id"], 20, "the armed container")  # known to the journal
        self.assertTrue(self.containers_of(run))
        server.cli.check("delete", "j")
        lab.wait_for(lambda: not self.containers_of(run), 20, "the armed container to go")
        self.assertEqual([], self.ledger.lines())


class Registries(lab.Suite):
    """Private registries on the loopback of the engine: who is let in is what they have seen themselves."""

    USER, PASSWORD = "ci", "pa:ss/w+rd-of-the-lab"
    OWN, LOGIN, HELPER, NOBODY = 5000, 5001, 5002, 5003

    @classmethod
    def setUpClass(cls):
        cls.dockerd = lab.shared_docker()

    def setUp(self):
        super().setUp()
        with open(self.folder.join("root.tar"), "wb") as f:
            f.write(lab.busybox_root())
        self.registry = lab.Service(self.folder.make("registry"), "registry")
        self.registry.spawn(["nsenter", "-t", str(self.dockerd.inside), "-n", sys.executable, os.path.join(
            lab.TOP, "tests", "lab", "registry.py"), self.registry.path, self.folder.join("root.tar"),
            f"{self.USER}:{self.PASSWORD}", f"{self.OWN}=basic", f"{self.LOGIN}=token", f"{self.HELPER}=basic",
            f"{self.NOBODY}=basic"])
        lab.wait_for(lambda: "ready" in self.registry.log(), 20, lambda: self.registry.log_tail())

    def tearDown(self):
        self.registry.kill()
        super().tearDown()

    def requests(self, port):
        return [line.split()[1:] for line in self.folder.read("registry/requests").splitlines()
                if line.startswith(f"{port} ")]

    def login(self):
        """A docker login and a credential helper, as of the server's user: the environment."""
        config = self.folder.make("login")
        auth = base64.b64encode(f"{self.USER}:{self.PASSWORD}".encode()).decode()
        with open(os.path.join(config, "config.json"), "w") as f:
            json.dump({"auths": {f"http://127.0.0.1:{self.LOGIN}/v2/": {"auth": auth}},
                       "credHelpers": {f"127.0.0.1:{self.HELPER}": "lab"}}, f)
        helper = os.path.join(config, "docker-credential-lab")
        with open(helper, "w") as f:
            f.write(f"""#!/bin/sh
[ "$1" = get ] && [ "$(cat)" = 127.0.0.1:{self.HELPER} ] && printf '{{"Username":"{self.USER}","Secret":"{self.PASSWORD}"}}'
""")
        os.chmod(helper, 0o755)
        return {"DOCKER_CONFIG": config, "PATH": f"{config}:{os.environ['PATH']}"}

    def test_credentials_reach_their_registry_and_nothing_else(self):
        secret = self.folder.write("password", f"{self.PASSWORD}\n")
        engine = lab.docker_engine(self.dockerd, registries={
            f"127.0.0.1:{self.OWN}": {"username": self.USER, "from_file": secret}})
        server = self.server(engines={"docker": engine}, environment=self.login())
        server.start()
        ports = {"own": self.OWN, "login": self.LOGIN, "helper": self.HELPER, "nobody": self.NOBODY}
        server.apply({name: {"image": f"127.0.0.1:{port}/acme/{name}:1", "network": "host", "command": ["true"]}
                      for name, port in ports.items()})
        runs = {name: server.cli.wait_end(server.cli.trigger(name)) for name in ports}
        for name in ("own", "login", "helper"):
            self.assertEqual("succeeded", runs[name]["verdict"], runs[name])
            pulled = [(scheme, admitted) for _, path, scheme, admitted in self.requests(ports[name]) if "/manifests/" in path]
            self.assertTrue(pulled)
            self.assertEqual({("Bearer" if name == "login" else "Basic", "in")}, set(pulled))
        self.assertIn(["GET", "/token", "Basic", "in"], self.requests(self.LOGIN))
        self.assertEqual("failed", runs["nobody"]["verdict"])
        self.assertIn(f"there are no credentials for 127.0.0.1:{self.NOBODY}", json.dumps(runs["nobody"]))
        self.assertEqual({"-"}, {scheme for _, _, scheme, _ in self.requests(self.NOBODY)})
        server.stop()
        for folder, _, files in os.walk(server.data):
            for f in files:
                with open(os.path.join(folder, f), "rb") as data:
                    self.assertNotIn(self.PASSWORD.encode(), data.read(), f)
        self.assertNotIn(self.PASSWORD, server.log())

    def test_a_password_that_cannot_be_read_is_told(self):
        engine = lab.docker_engine(self.dockerd, registries={
            f"127.0.0.1:{self.OWN}": {"username": self.USER, "from_file": self.folder.join("missing")}})
        server = self.server(engines={"docker": engine})
        server.start()
        server.apply({"j": {"image": f"127.0.0.1:{self.OWN}/acme/missing:1", "network": "host", "command": ["true"]}})
        run = server.cli.wait_end(server.cli.trigger("j"))
        self.assertEqual("failed", run["verdict"])
        self.assertIn(f"registries: 127.0.0.1:{self.OWN}: the file {self.folder.join('missing')} cannot be read",
                      json.dumps(run))


if __name__ == "__main__":
    lab.main()
