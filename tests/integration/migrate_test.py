#!/usr/bin/python3
"""The journal moves from one machine's folder into ZooKeeper and back: nothing runs twice, nothing is forgotten, and at no
time two places hold a journal that lives."""

import collections
import os
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lab"))
import lab  # noqa: E402
from zookeeper import ZooKeeper, ask, free_ports, why_no_zookeeper  # noqa: E402

SESSION_S = 4
BUSY, CONFLICT, NOT_FOUND = 6, 6, 3


class Migration(lab.Suite):
    def setUp(self):
        super().setUp()
        self.need_faults()
        why = why_no_zookeeper()
        if why:
            self.skipTest(why)
        self.zk = ZooKeeper(self.folder.make("zk")).start()
        self.addCleanup(self.zk.close)
        self.zk.wait_up()
        self.ledger = lab.Ledger(self.folder)
        self.data = self.folder.make("data")
        self.alone = self.server(name="alone", data=self.data, config={"replica": "r0"})
        self.member = self.replica("member", self.data, "r0")

    def replica(self, name, data, identity, **config):
        server = self.server(name=name, data=data, config={
            "cluster": "m", "replica": identity, "zookeeper": self.zk.connect, "insecure": True,
            "session_timeout": f"{SESSION_S}s", **config})
        server.config["listen"].append(f"127.0.0.1:{free_ports(1)[0]}")
        return server

    def migrate(self, to, *options, crash=None):
        cli = lab.Cli("unix:/nowhere", {"CRONSCHED_CRASH_AT": crash} if crash else None)
        words = ("journal", "migrate", to, "--config", self.member.write_config(), *options)
        if not crash:
            return cli.call(*words)
        done = subprocess.run([lab.binary(), *words], env=cli.environment, capture_output=True, check=False)
        self.assertEqual(-9, done.returncode, done.stderr)
        return None

    def refused(self, to, code, text, *options):
        answer = self.migrate(to, *options)
        self.assertEqual((code, True), (answer.code, text in answer.err), answer)

    def refuses_to_start(self, server, text):
        """It ends by itself, and says why."""
        seen = len(server.log())
        server.launch()
        lab.wait_for(lambda: not server.running(), 20, lambda: f"its end: {server.log_tail()}")
        self.assertIn(text, server.log()[seen:])
        server.process = None

    def all_accounted_for(self, server):
        """By the program, and by what the runs wrote themselves."""
        answer = server.cli.audit(self.since)
        self.assertEqual(0, answer.code, answer)
        starts = collections.Counter((line.run, line.attempt) for line in self.ledger.lines() if line.what == "start")
        self.assertEqual([], [key for key, count in starts.items() if count > 1])
        self.assertEqual([], [run for run, n in collections.Counter(run for run, _ in starts).items() if n > 1])
        return answer.json()

    def same_as_before(self, server):
        """Jobs, runs and keys."""
        self.assertEqual({"tick", "keyed"}, {job["job"] for job in server.cli.json("jobs")})
        self.assertEqual(self.keyed, server.cli.trigger("keyed", "--key", "nightly-7"))
        self.assertIn(self.keyed, {run["run"] for run in server.cli.runs("keyed")})
        lab.wait_for(lambda: len(server.cli.runs("tick", "--since", lab.instant(time.time() - 3))) > 0, 20,
                     "a run of the job that fires each second")

    def begin_alone(self):
        self.since = lab.instant(time.time() + 1)
        self.alone.start()
        self.alone.apply({"tick": self.ledger.process_job(schedule="* * * * * *", concurrency="allow"),
                          "keyed": self.ledger.process_job()})
        self.keyed = self.alone.cli.trigger("keyed", "--key", "nightly-7")
        self.alone.cli.wait_end(self.keyed)
        self.same_as_before(self.alone)

    def test_there_and_back(self):
        self.begin_alone()
        self.refused("zookeeper", BUSY, "a server runs on", "--yes")
        self.alone.stop()
        self.refused("embedded", CONFLICT, "has a journal of its own already", "--yes")
        answer = self.migrate("zookeeper")
        self.assertEqual(0, answer.code, answer)
        self.assertIn("Nothing was changed", answer.out)
        self.alone.start()  # it is true
        self.alone.stop()

        self.migrate("zookeeper", "--yes", crash="migrate:written")
        self.alone.start()  # the journal is still here
        self.alone.stop()
        self.migrate("zookeeper", "--yes", crash="migrate:sealed")
        self.refuses_to_start(self.alone, "is sealed: the journal is elsewhere, or on its way")
        self.refuses_to_start(self.member, "journal.db")
        self.migrate("zookeeper", "--yes", crash="migrate:done")
        self.refuses_to_start(self.alone, "is sealed")
        answer = self.migrate("zookeeper", "--yes")
        self.assertEqual((0, True), (answer.code, "moved to ZooKeeper" in answer.out), answer)
        self.refused("zookeeper", NOT_FOUND, "has no journal.db", "--yes")
        self.refuses_to_start(self.alone, "journal.db is missing or empty: 'cronsched journal migrate' has moved it")

        self.member.start(seconds=60)
        self.same_as_before(self.member)
        self.refused("embedded", BUSY, "a server runs on", "--yes")
        self.all_accounted_for(self.member)
        self.member.stop()
        self.assertNotIn("/members/", ask(self.zk.members[0].address, self.zk.members[0].port, "dump"))  # it has said goodbye

        self.assertIn("Nothing was changed", self.migrate("embedded").out)
        self.migrate("embedded", "--yes", crash="migrate:written")
        self.refuses_to_start(self.alone, "is sealed")
        self.migrate("embedded", "--yes", crash="migrate:ended")
        self.refuses_to_start(self.alone, "is sealed")
        answer = self.migrate("embedded", "--yes")
        self.assertEqual((0, True), (answer.code, "moved to " + self.data in answer.out), answer)
        self.refused("embedded", CONFLICT, "has a journal of its own already", "--yes")
        other = self.replica("other", self.folder.make("other"), "r1")
        other.launch()
        lab.wait_for(lambda: "the journal was moved from ZooKeeper to" in other.log(), 30,
                     lambda: f"its complaint: {other.log_tail()}")
        self.assertEqual(503, other.http("GET", "/readyz")[0])
        other.stop()

        self.alone.start()
        self.same_as_before(self.alone)
        self.all_accounted_for(self.alone)
        self.alone.stop()
        answer = self.migrate("zookeeper", "--yes")  # over what is left of the first time
        self.assertEqual(0, answer.code, answer)
        self.member.start(seconds=60)
        self.same_as_before(self.member)
        found = self.all_accounted_for(self.member)
        self.assertEqual(0, found["doubled_count"], found)
        self.member.stop()

    def test_it_is_taken_back_before_it_is_done(self):
        self.begin_alone()
        self.alone.stop()
        self.migrate("zookeeper", "--yes", crash="migrate:sealed")
        self.assertEqual(0, self.migrate("embedded", "--yes").code)
        self.alone.start()
        self.same_as_before(self.alone)
        self.all_accounted_for(self.alone)
        self.alone.stop()
        # another cluster's tree is left alone
        stranger = self.replica("stranger", self.folder.make("stranger"), "r9", init=True)
        stranger.start(seconds=60)
        self.refused("zookeeper", CONFLICT, "already", "--yes")
        stranger.stop()
        self.refused("zookeeper", CONFLICT, "holds cluster", "--yes")
        self.alone.start()
        self.all_accounted_for(self.alone)


if __name__ == "__main__":
    lab.main()
