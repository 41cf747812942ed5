#!/usr/bin/python3
"""How late runs start that are all due in the same second, and the engine's own rate beside it. By hand; needs a
build without sanitizers to mean anything.

  CRONSCHED_BUILD=build-release tests/bench/lateness_test.py
  CRONSCHED_DUE_PROCESS (200), CRONSCHED_DUE_DOCKER (30)
"""

import concurrent.futures
import os
import statistics
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lab"))
import lab  # noqa: E402


def figures(seconds):
    seconds = sorted(seconds)
    p99 = seconds[min(len(seconds) - 1, int(len(seconds) * 0.99))]
    return (f"{len(seconds)} starts: median {statistics.median(seconds) * 1000:.0f} ms, p99 {p99 * 1000:.0f} ms, "
            f"last {seconds[-1] * 1000:.0f} ms late")


class Lateness(lab.Suite):
    def due_together(self, server, jobs, ledger, ahead_s, settle_s):
        t = int(time.time()) + ahead_s
        for definition in jobs.values():
            definition["schedule"] = f"@at {lab.instant(t)}"
        server.apply(jobs)
        times = {lab.run_id(name, t): t for name in jobs}
        lab.wait_for(lambda: len(ledger.starts()) >= len(jobs), ahead_s + settle_s,
                     lambda: f"{len(jobs)} starts, not {len(ledger.starts())}", every=0.5)
        self.assertNone(lab.Checker(ledger).strict().problems)
        late = lab.Checker(ledger).lateness(times)
        self.assertGreaterEqual(late[0], -0.02, "a run started before its time")
        gap = server.metric("cronsched_loop_gap_seconds")
        return late, "" if gap is None else f"; longest gap of the event loop {gap * 1000:.0f} ms"

    def test_process_jobs(self):
        ledger = lab.Ledger(self.folder)
        server = self.server()
        server.start()
        count = int(os.environ.get("CRONSCHED_DUE_PROCESS", "200"))
        late, gap = self.due_together(server, {f"p{i}": ledger.process_job() for i in range(count)}, ledger, 20, 60)
        lab.say(f"process engine, {figures(late)}{gap}")
        began = time.monotonic()
        for _ in range(count):
            subprocess.run(["sh", "-c", ledger.script(ledger.path)], check=True,
                           env={"CRONSCHED_RUN": "raw@20200101T000000Z", "CRONSCHED_ATTEMPT": "1"})
        lab.say(f"the machine's own rate: {count / (time.monotonic() - began):.0f} such shells a second, one by one")
        server.stop()

    def test_docker_jobs(self):
        dockerd = lab.shared_docker()
        ledger = lab.Ledger(self.folder)
        server = self.server(engines={"docker": lab.docker_engine(dockerd)})
        server.start()
        count = int(os.environ.get("CRONSCHED_DUE_DOCKER", "30"))
        late, gap = self.due_together(server, {f"d{i}": ledger.docker_job() for i in range(count)}, ledger, 25, 120)
        lab.say(f"docker engine, {figures(late)}{gap}")
        server.stop()
        lab.say(f"the raw engine's own rate: {self.raw_rate(dockerd, count):.1f} starts a second, 8 at a time")

    def raw_rate(self, dockerd, count):
        ids = []
        for i in range(count):
            status, made = dockerd.api.call("POST", f"/containers/create?name=raw{i}",
                                            {"Image": lab.IMAGE, "Cmd": ["true"]})
            self.assertEqual(201, status)
            ids.append(made["Id"])
        began = time.monotonic()
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda i: dockerd.api.call("POST", f"/containers/{i}/start"), ids))
        return count / (time.monotonic() - began)


if __name__ == "__main__":
    lab.main()
