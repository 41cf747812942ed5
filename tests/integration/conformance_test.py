#!/usr/bin/python3
"""The conformance drill passes on real engines, and doctor tells its result.

A day tries each step once. More by hand: CRONSCHED_TRIALS=20."""

import json
import os
import re
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lab"))
import lab  # noqa: E402

TRIALS = os.environ.get("CRONSCHED_TRIALS", "1")
CLUSTER = "00000000-0000-4000-8000-0000000d8111"  # of all drills of engines


class Conformance(lab.Suite):
    side_by_side = 4

    def drill(self, server, *words, code=0):
        """What the drill of that server's engine prints."""
        done = subprocess.run(["nice", server.program, "drill", "engine", *words, "--config", server.write_config(), "--trials",
                               TRIALS], capture_output=True, text=True, timeout=1200, check=False)
        print("".join(f"## {line}\n" for line in done.stdout.splitlines()), end="", flush=True)
        self.assertEqual(code, done.returncode, done.stdout + done.stderr)
        return done.stdout

    def in_containers(self, name, engine, left, *words):
        server = self.server(engines={name: engine})
        os.chmod(self.folder.make("ledger"), 0o777)
        out = self.drill(server, name, "--image", lab.IMAGE, "--ledger", self.folder.join("ledger"), *words)
        self.assertNotIn("FAILED", out)
        lab.wait_for(lambda: not left(), 60, "the drill's objects to go")
        return server

    def doctor(self, server):
        return re.sub(r"\s+", " ", server.cli.call("doctor").out)

    def test_docker(self):
        docker = lab.shared_docker()
        self.in_containers("docker", lab.docker_engine(docker), lambda: docker.api.containers(cronsched__cluster=CLUSTER),
                           "--remove", f"curl -s --unix-socket {docker.endpoint[7:]} -X DELETE "
                           "\"http://d/containers/$CRONSCHED_ID?force=1\"")

    def test_swarm(self):
        swarm = lab.shared_swarm()
        self.in_containers("swarm", swarm.engine(), lambda: swarm.services(cronsched__cluster=CLUSTER))

    def test_process_and_what_doctor_says_of_it(self):
        server = self.server(engines={"process": {}})
        server.start()
        self.assertIn("at most one start, unproved here: cronsched drill engine process", self.doctor(server))
        self.assertNotIn("FAILED", self.drill(server, "process"))
        self.assertRegex(self.doctor(server), r"at most one start, proved on 20\d\d-\d\d-\d\d with cronsched [^ ]+ \(\d+ trials?\)")
        path = os.path.join(server.data, "engine-proofs.json")
        with open(path) as f:
            proofs = json.load(f)
        proofs["process"]["version"] = "cronsched 0"
        with open(path, "w") as f:
            json.dump(proofs, f)
        self.assertRegex(self.doctor(server), r"with cronsched 0 \(\d+ trials?\), not with this version")
        proofs["process"].update(passed=False, cases=[{"case": "a", "passed": True}, {"case": "b", "passed": False}])
        with open(path, "w") as f:
            json.dump(proofs, f)
        self.assertRegex(self.doctor(server), r"error engines: engine process; at most one start, it failed its drill on .* with cronsched 0: b")

    def test_an_engine_that_is_not_there(self):
        self.drill(self.server(engines={"process": {}}), "nope", code=2)


if __name__ == "__main__":
    lab.main()
