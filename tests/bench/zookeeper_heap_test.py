#!/usr/bin/python3
"""How much of the journal is in the memory of ZooKeeper's servers while many jobs fire, with little memory: three servers of
64 MB, two replicas, an engine that starts and ends runs at once. By hand; needs a build without sanitizers to mean anything.

  CRONSCHED_BUILD=build-release tests/bench/zookeeper_heap_test.py
  CRONSCHED_JOBS (2000)     all of them fire every second     CRONSCHED_SECONDS (60)
  CRONSCHED_HEAP (64m)      of each server                    CRONSCHED_SERVERS (3)
"""

import os
import re
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, "..", "lab"), os.path.join(HERE, "..", "integration")]
import lab  # noqa: E402
from cluster_test import Cluster  # noqa: E402
from zookeeper import ZooKeeper, ask, why_no_zookeeper  # noqa: E402

MB = 1024 * 1024
BOUND_MB = 32
COUNTED = ("cronsched_fired_total", "cronsched_started_total", "cronsched_index")


def number(name, default):
    return int(os.environ.get(f"CRONSCHED_{name}", default))


def data_size(member):
    """Of all nodes with their paths, as the server counts."""
    found = re.search(r"zk_approximate_data_size\s+(\d+)", ask(member.address, member.port, "mntr"))
    return int(found.group(1)) if found else 0


def heaps(member):
    """What was in use after each collection, in MB."""
    with open(member.file("gc.log")) as f:
        return [int(n) for n in re.findall(r"Pause .*->(\d+)M\(", f.read())]


class Heap(lab.Suite):
    def setUp(self):
        super().setUp()
        why = why_no_zookeeper()
        if why:
            self.skipTest(why)
        heap = os.environ.get("CRONSCHED_HEAP", "64m")
        self.zk = ZooKeeper(self.folder.make("zk-heap"), servers=number("SERVERS", 3), java=[
            f"-Xmx{heap}", "-XX:+ExitOnOutOfMemoryError", "-Xlog:gc:file=gc.log"])
        for member in self.zk.members:
            member.java[-1] = f"-Xlog:gc:file={member.file('gc.log')}"
        self.zk.start()
        self.addCleanup(self.zk.close)
        self.zk.wait_up()

    def test_the_log_stays_small(self):
        cluster = Cluster(self, name="heap", zookeeper=self.zk,
                          engines={"null": {"type": "null", "max_armed": 2 * number("JOBS", 2000)}})
        leader = cluster.servers[0]
        epoch = leader.cli.cluster()["epoch"]
        leader.apply({f"j{i}": {"schedule": "* * * * * *", "command": ["true"], "concurrency": "allow", "keep": {"runs": 1}}
                      for i in range(number("JOBS", 2000))})
        time.sleep(5)
        before, began = {m: leader.metric(m) for m in COUNTED}, time.monotonic()
        log, data = [], []
        while time.monotonic() - began < number("SECONDS", 60):
            log.append(leader.metric("cronsched_zookeeper_log_bytes") / MB)
            data.append(max(map(data_size, self.zk.members)) / MB)
            time.sleep(0.25)
        passed = time.monotonic() - began
        fired, started, batches = ((leader.metric(m) - before[m]) / passed for m in COUNTED)
        lab.say(f"{fired:.0f} fire times and {started:.0f} starts a second in {batches:.0f} batches: "
                f"the log {max(log):.1f} MB at most, {sum(log) / len(log):.1f} on average; all nodes {max(data):.1f} MB; heaps "
                f"after collections up to {[max(heaps(m), default=0) for m in self.zk.members]} MB")
        for line in leader.log().splitlines():
            if "left-behind" in line:
                lab.say(line)
        self.assertEqual(epoch, leader.cli.cluster()["epoch"])
        self.assertLess(max(log), BOUND_MB)
        self.assertGreater(max(log), 8)


if __name__ == "__main__":
    lab.main()
