#!/usr/bin/python3
"""Replicas on a ZooKeeper that answers something else than "done": a quota, a small jute.maxbuffer, other servers than
`zookeeper:` names. It is told where people look, nothing flaps, and what can go on goes on."""

import os
import signal
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lab"))
import lab  # noqa: E402
from cluster_test import Cluster  # noqa: E402
from zookeeper import SMALL, ZooKeeper, why_no_zookeeper, write  # noqa: E402

NO_LIMIT = "count=-1,bytes=-1=;byteHardLimit=-1;countHardLimit=-1"
LIMITS = "/zookeeper/quota/cronsched/{}/zookeeper_limits"
LARGE_BYTES = 4000  # of a job
SLOW_S = 2          # more than a third of the session of 4 s
LARGE_JOBS = 60     # together they are more than twice what the server takes


class Answers(lab.Suite):
    def setUp(self):
        super().setUp()
        why = why_no_zookeeper()
        if why:
            self.skipTest(why)
        self.zk = ZooKeeper(self.folder.make("zk-small"), **SMALL).start()
        self.addCleanup(self.zk.close)
        self.cluster = Cluster(self, name="answers", zookeeper=self.zk)

    def doctor(self, server):
        answer = server.cli.call("doctor", "-o", "json")
        return [c for c in answer.json() if c["check"] == "zookeeper"]

    def wait_doctor(self, server, status, words):
        def told():
            return [c for c in self.doctor(server) if c["status"] == status and words in c["text"]]
        return lab.wait_for(told, 20, lambda: f"doctor to say {words}: {self.doctor(server)}")

    def test_a_quota_is_told_and_nothing_flaps(self):
        first, second = self.cluster.servers
        first.apply({"tick": {"command": ["true"], "schedule": "* * * * * *", "concurrency": "allow"}})
        epoch = first.cli.cluster()["epoch"]
        for path, data in (("/zookeeper/quota/cronsched", ""), ("/zookeeper/quota/cronsched/answers", ""),
                           (LIMITS.format("answers"), "count=-1,bytes=-1=;byteHardLimit=2000;countHardLimit=-1"),
                           ("/zookeeper/quota/cronsched/answers/zookeeper_stats", "count=1,bytes=0")):
            self.assertEqual(0, write(self.zk.members[0], path, data, create=True), path)
        self.wait_doctor(first, "error", "its quota is exceeded (-125)")
        status, answer = lab.wait_for(lambda: (lambda a: a if a[0] == 503 else None)(first.http("GET", "/readyz")), 20,
                                      "the leader not to be ready")
        self.assertIn("its quota is exceeded", str(answer))
        refused = first.cli.call("trigger", "tick")
        self.assertNotEqual(0, refused.code)
        self.assertIn("its quota is exceeded", refused.err + refused.out)
        refusals = first.metric("cronsched_zookeeper_refusals_total")
        time.sleep(5)
        self.assertLess(first.metric("cronsched_zookeeper_refusals_total") - refusals, 15)
        for server in (first, second):
            self.assertEqual(0, server.metric("cronsched_zookeeper_connections_lost_total"))
        self.assertEqual(epoch, first.cli.cluster()["epoch"])
        self.assertEqual(1, first.log().count("the servers refuse writes"), first.log_tail(20))
        self.assertEqual(0, write(self.zk.members[0], LIMITS.format("answers"), NO_LIMIT))
        lab.wait_for(lambda: first.http("GET", "/readyz")[0] == 200, 40, "the leader to be ready again")
        first.apply({"other": {"command": ["true"]}})
        self.assertEqual(epoch, first.cli.cluster()["epoch"])

    def test_a_small_jute_maxbuffer_and_another_list_of_servers(self):
        first, second = self.cluster.servers
        epoch = first.cli.cluster()["epoch"]
        first.apply({f"j{i}": {"command": ["true", "x" * LARGE_BYTES]} for i in range(LARGE_JOBS)})
        first.apply({f"k{i}": {"command": ["true", "x" * LARGE_BYTES]} for i in range(LARGE_JOBS)})
        self.assertEqual(2 * LARGE_JOBS, len(first.cli.json("jobs")))
        self.wait_doctor(first, "warning", "jute.maxbuffer")
        for server in (first, second):
            self.assertEqual(0, server.metric("cronsched_zookeeper_connections_lost_total"))
        self.assertEqual(epoch, first.cli.cluster()["epoch"])
        self.wait_doctor(second, "ok", "names the servers that the ensemble has")
        second.config["zookeeper"] = f"127.0.0.1:1,{self.zk.connect}"
        second.write_config()
        os.kill(second.process.pid, signal.SIGHUP)
        self.wait_doctor(second, "warning", "127.0.0.1:1, which the ensemble does not have")
        self.zk.pause(0)  # as a slow disk does
        lab.quiet_for(SLOW_S)
        self.zk.resume(0)
        self.wait_doctor(first, "warning", "a write took at most")
        for server in (first, second):
            self.assertEqual(0, server.metric("cronsched_zookeeper_connections_lost_total"))
        self.assertEqual(epoch, first.cli.cluster()["epoch"])


if __name__ == "__main__":
    lab.main()
