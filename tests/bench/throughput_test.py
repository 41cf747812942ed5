#!/usr/bin/python3
"""How many runs a second go through the whole program, with an engine that starts and ends them at once: on the
embedded journal, and through ZooKeeper. By hand; needs a build without sanitizers to mean anything.

  CRONSCHED_BUILD=build-release tests/bench/throughput_test.py
  CRONSCHED_JOBS (1000)   all of them fire every second     CRONSCHED_SECONDS (10)
"""

import os
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, "..", "lab"), os.path.join(HERE, "..", "integration")]
import lab  # noqa: E402
from cluster_test import Cluster  # noqa: E402
from zookeeper import why_no_zookeeper  # noqa: E402

ENGINE = {"null": {"type": "null"}}
COUNTED = ("cronsched_fired_total", "cronsched_started_total", "cronsched_index", "cronsched_lateness_seconds_sum",
           "process_cpu_seconds_total")


class Throughput(lab.Suite):
    def measure(self, server, name):
        jobs = {f"j{i}": {"schedule": "* * * * * *", "command": ["true"], "concurrency": "allow", "keep": {"runs": 1}}
                for i in range(int(os.environ.get("CRONSCHED_JOBS", "1000")))}
        server.apply(jobs)
        time.sleep(5)  # they are prepared ahead by then
        before, began = {m: server.metric(m) for m in COUNTED}, time.monotonic()
        time.sleep(float(os.environ.get("CRONSCHED_SECONDS", "10")))
        passed = time.monotonic() - began
        fired, started, batches, late, cpu = ((server.metric(m) - before[m]) / passed for m in COUNTED)
        lab.say(f"{name}, {len(jobs)} jobs: {fired:.0f} fire times accounted for and {started:.0f} starts a second in "
                f"{batches:.0f} batches, {1000 * late / max(started, 1):.0f} ms late on average, {100 * cpu:.0f} % of a CPU")
        server.kill()

    def test_embedded(self):
        server = self.server(engines=ENGINE)
        server.start()
        self.measure(server, "embedded journal")

    def test_zookeeper(self):
        why = why_no_zookeeper()
        if why:
            self.skipTest(why)
        self.measure(Cluster(self, replicas=1, engines=ENGINE).servers[0], "through ZooKeeper")


if __name__ == "__main__":
    lab.main()
