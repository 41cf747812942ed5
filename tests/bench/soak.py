#!/usr/bin/python3
"""A lab without faults, for a long time: one epoch, no replica suspects another, every fire time starts once. By hand:

  CRONSCHED_BUILD=build-release tests/bench/soak.py --minutes 60 [--under CONDITION]...

Replicas are reached by names that have an IPv6 address at which nobody listens. Conditions, which are none of them a
fault of the leader:
  reject   a firewall resets what goes between the leader and one standby
  load     other processes want 90 % of every processor, 70 ms of work and 8 ms of rest at a time
  slow     packets between replicas take 200 ms each way, and one in a hundred is lost
Prints JSON; exit code 1 when another epoch began, or when a start is doubled or missing.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lab"))
import lab  # noqa: E402
from slow_link import SlowLinks  # noqa: E402

EVERY = {"docker": 10, "process": 1}  # seconds between two starts
TOLD = ("leader-unreachable", "elected", "deposed", "resigned")
BURN = """
import time
while True:
    until = time.perf_counter() + 0.07
    while time.perf_counter() < until:
        pass
    time.sleep(0.008)
"""


class Soak:
    def __init__(self, place, session_timeout):
        self.lab = lab.Cluster(place, session_timeout=session_timeout,
                               before_start=lambda cluster: cluster.write_hosts(dual_stack=True))
        self.ledger, self.closing = lab.Ledger(place, "soak"), []

    def under(self, condition):
        replicas = [self.lab.network.spaces[name] for name in self.lab.replicas]
        leader = self.lab.network.spaces[self.lab.wait_leader()]
        if condition == "reject":
            next(space for space in replicas if space is not leader).reject(leader.address)
        elif condition == "load":
            for _ in range(os.cpu_count()):
                burner = subprocess.Popen([sys.executable, "-c", BURN])
                self.closing.append(lambda b=burner: (b.kill(), b.wait()))
        elif condition == "slow":
            self.closing.append(SlowLinks(replicas, 0.2, 0.01).close)

    def apply(self):
        jobs = {engine: self.ledger.job(engine, schedule=f"*/{every} * * * * *", concurrency="allow", catch_up="all",
                                        max_catch_up=1000, keep={"runs": 100000})
                for engine, every in EVERY.items()}
        path = self.lab.file("soak.yaml")
        with open(path, "w") as f:
            json.dump({"jobs": jobs}, f)
        self.lab.cli.check("apply", path)
        self.first = int(time.time()) + 10

    def told(self):
        """What replicas logged that a quiet cluster does not."""
        found = []
        for replica in self.lab.replicas.values():
            for line in replica.log().splitlines():
                if line.startswith("{") and json.loads(line).get("event") in TOLD:
                    event = json.loads(line)
                    found.append(f"{event['time']} {replica.id} {event['event']}: {event.get('text', '')}")
        return sorted(found)

    def run(self, seconds, conditions):
        self.lab.wait_leader()
        self.apply()
        for condition in conditions:
            self.under(condition)
        began, before = time.time(), self.told()
        while time.time() < began + seconds:
            time.sleep(5)
        last, view = int(time.time()) - 30, self.lab.view()
        starts, told = self.ledger.starts(), self.told()[len(before):]
        epochs = len([line for line in self.told() if " elected: " in line])
        expected = [lab.run_id(engine, t) for engine, every in EVERY.items()
                    for t in range(self.first, last) if t % every == 0]
        return {"seconds": round(time.time() - began), "conditions": conditions, "epoch": view.get("epoch"),
                "elections": epochs, "told": told, "fire_times": len(expected), "starts": sum(starts.values()),
                "doubled": [run for run, count in starts.items() if count > 1],
                "missed": [run for run in expected if run not in starts],
                "differences": [d.get("text") for d in view.get("differences", [])]}

    def close(self):
        for close in self.closing:
            close()
        self.lab.close()


def main():
    parser = argparse.ArgumentParser(usage=__doc__.partition("By hand:\n\n  ")[2].partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--under", action="append", default=[], choices=("reject", "load", "slow"))
    parser.add_argument("--session-timeout", default="10s")
    args = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # and all is closed
    place, soak = lab.Folder("soak"), None
    try:
        soak = Soak(place, args.session_timeout)
        result = soak.run(args.minutes * 60, args.under)
        print(json.dumps(result, indent=1))
        return 0 if result["elections"] == 1 and not result["doubled"] and not result["missed"] else 1
    finally:
        if soak:
            soak.close()
        place.close()


if __name__ == "__main__":
    sys.exit(main())
