#!/usr/bin/python3
"""Two Docker Engines under one name: another engine than the one that an attempt was prepared on is not believed about
it. What runs is not started a second time beside itself, and whoever reaches the right engine is asked."""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lab"))
import lab  # noqa: E402
from cluster_test import Cluster  # noqa: E402
from zookeeper import why_no_zookeeper  # noqa: E402

ANOTHER = "this is another engine"
AWAY = "the replica that has it does not answer"


class TwoEngines(lab.Suite):
    side_by_side = 1

    @classmethod
    def setUpClass(cls):
        cls.first = lab.shared_docker()

    def setUp(self):
        super().setUp()
        self.ledger = lab.Ledger(self.folder)

    def engine(self, name):
        """One of this test's own; what runs on it outlives a dockerd that is killed and started again."""
        folder = lab.Folder("e")  # its sockets need a short path
        self.addCleanup(folder.close)
        engine = lab.Dockerd(folder, name, live_restore=True)
        self.addCleanup(engine.close)
        return engine

    def lead_to(self, engine):
        """The address in the configuration leads there from now on."""
        path = self.folder.join("engine.sock")
        os.symlink(engine.socket, path + ".new")
        os.rename(path + ".new", path)
        return f"unix://{path}"

    def begin(self, engine, jobs, **config):
        server = self.server(engines={"docker": {"type": "docker", "endpoint": self.lead_to(engine)}}, config=config)
        server.start()
        server.apply(jobs)
        return server

    def started(self, run, seconds=60):
        lab.wait_for(lambda: self.ledger.starts(run), seconds, f"the start of {run}")
        return run

    def unresolved(self, server, run):
        def is_unresolved():
            found = server.cli.run(run)
            text = found.get("text") or ""
            known = ANOTHER in text or AWAY in text  # asked here, or of the replica that was just there
            return found if found["state"] == "unresolved" and known else None
        return lab.wait_for(is_unresolved, 60, lambda: f"{run} to be unresolved: {server.cli.run(run)}")

    def running_on(self, engine, run):
        return [c for c in engine.api.containers(cronsched__run=run) if c["State"] == "running"]

    def test_an_engine_that_is_replaced_under_a_server_and_comes_back(self):
        first = self.engine("a")
        server = self.begin(first, {"long": self.ledger.docker_job("sleep 25", on_lost="rerun"),
                                    "short": self.ledger.docker_job()})
        run = self.started(server.cli.trigger("long"))
        identity = server.cli.run(run)["attempts"][0]["engine_identity"]
        self.assertRegex(identity, "^[0-9a-f]{32}$")
        lab.quiet_for(2)  # the log compares the engines every second
        self.lead_to(self.first)
        first.kill()
        found = self.unresolved(server, run)
        self.assertIn(identity, found["text"])
        lab.wait_for(lambda: "engine-replaced" in server.log(), 10, "the log to tell")
        other = server.cli.wait_end(server.cli.trigger("short"))  # what is new runs on the engine that is there
        self.assertEqual("succeeded", other["verdict"])
        self.assertNotEqual(identity, other["attempts"][0]["engine_identity"])
        self.assertEqual(1, self.ledger.starts(run))
        first.start()
        self.lead_to(first)
        self.first.stop()
        self.first.start()
        ended = server.cli.wait_end(run, 90)
        self.assertEqual(("succeeded", 1), (ended["verdict"], len(ended["attempts"])), ended)
        self.assertEqual(1, self.ledger.starts(run))

    def test_what_its_engine_never_tells_is_lost_with_that_evidence(self):
        first = self.engine("a")
        server = self.begin(first, {"long": self.ledger.docker_job("sleep 120")}, resolve_within="10s")
        run = self.started(server.cli.trigger("long"))
        server.kill()
        self.lead_to(self.first)
        server.start()  # as a new leader, beside another engine from the first moment on
        found = server.cli.wait_end(run, 60)
        self.assertEqual("lost", found["verdict"])
        self.assertIn(ANOTHER, found["text"])
        self.assertEqual(1, self.ledger.starts(run))
        self.assertEqual(1, len(self.running_on(first, run)))

    def test_a_mark_that_is_pruned_is_made_again_from_the_containers(self):
        server = self.begin(self.first, {"long": self.ledger.docker_job("sleep 30")})
        run = self.started(server.cli.trigger("long"))
        server.kill()
        volumes = self.first.api.call("GET", "/volumes")[1]["Volumes"]
        mark = [v["Name"] for v in volumes if v["Labels"] and "cronsched.identity" in v["Labels"]
                and v["Labels"]["cronsched.identity"] == self.containers_identity(run)]
        self.assertEqual(1, len(mark))
        self.assertEqual(204, self.first.api.call("DELETE", f"/volumes/{mark[0]}")[0])
        server.start()
        self.assertEqual("succeeded", server.cli.wait_end(run, 90)["verdict"])
        self.assertEqual(1, self.ledger.starts(run))

    def containers_identity(self, run):
        return self.first.api.containers(cronsched__run=run)[0]["Labels"]["cronsched.identity"]

    def test_two_replicas_with_an_engine_each(self):
        why = why_no_zookeeper()
        if why:
            self.skipTest(why)
        second = self.engine("b")
        c = Cluster(self, name="e", engines={"docker": lab.docker_engine(self.first)},
                    configs=({}, {"engines": {"docker": lab.docker_engine(second)}}))
        r0, r1 = c.servers
        for server in c.servers:
            lab.wait_for(lambda: "engine" in [d["what"] for d in server.cli.cluster()["differences"]], 30,
                         "the difference to be told")
            checks = server.cli.call("doctor", "-o", "json").json()
            told = [x for x in checks if "is not one engine" in x["text"]]
            self.assertEqual(["error"], [x["status"] for x in told], checks)
        lab.wait_for(lambda: "engine-differs" in r1.log(), 30, "the one that is not with the leader to say so")
        self.assertNotIn("engine-differs", r0.log())
        r0.apply({"long": self.ledger.docker_job("sleep 40", on_lost="rerun")})
        run = self.started(r0.cli.trigger("long"))
        r0.kill()
        c.wait_leader(r1)
        self.unresolved(r1, run)
        self.assertEqual(1, self.ledger.starts(run))
        r0.start()  # and is asked, since its engine is the right one
        lab.wait_for(lambda: r1.cli.run(run)["state"] in ("running", "ended"), 60, lambda: f"{r1.cli.run(run)}")
        ended = r1.cli.wait_end(run, 120)
        self.assertEqual(("succeeded", 1), (ended["verdict"], len(ended["attempts"])), ended)
        self.assertEqual(1, self.ledger.starts(run))


if __name__ == "__main__":
    lab.main()
