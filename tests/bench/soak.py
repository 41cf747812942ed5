#!/usr/bin/python3
"""A lab without faults, for a long time: one epoch, no replica suspects another, every fire time starts once. By hand:

  CRONSCHED_BUILD=build-release tests/bench/soak.py --minutes 60 [--under CONDITION]...

Replicas are reached by names that have an IPv6 address at which nobody listens. Conditions, which are none of them a
fault of the leader:
  reject   a firewall resets what goes between the leader and one standby
  load     other processes want 90 % of every processor, 70 ms of work and 8 ms of rest at a time
  slow     packets between replicas take 200 ms each way, and one in a hundred is lost
Prints JSON; exit code 1 when another epoch began, or when a start is doubled or missing. What a slow disk or a busy machine
did is measured beside it, and listed as `slow`: an election that has nothing of the kind before it has another cause.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lab"))
import lab  # noqa: E402
from slow_link import SlowLinks  # noqa: E402

EVERY = {"docker": 10, "process": 1}  # seconds between two starts
TOLD = ("leader-unreachable", "elected", "deposed", "resigned")
SLOW_S = 0.2  # a write to the disk that takes as long, or waking up so late, is listed
LISTED = 200
BURN = """
import time
while True:
    until = time.perf_counter() + 0.07
    while time.perf_counter() < until:
        pass
    time.sleep(0.008)
"""


def processor_ticks():
    """(all, idle) of all processors since the machine's start."""
    with open("/proc/stat") as f:
        ticks = [int(word) for word in f.readline().split()[1:9]]
    return sum(ticks), ticks[3] + ticks[4]


class Machine:
    """How long a write to the disk takes that has to be durable, and how late this process wakes up, ten times a second; and
    how busy the processors are, by whatever runs on the machine."""

    def __init__(self, folder):
        self.ticks = processor_ticks()
        self.slow, self.worst, self.ended = [], {"fsync": 0.0, "wake-up": 0.0}, threading.Event()
        self.fd = os.open(folder.join("probe"), os.O_CREAT | os.O_WRONLY, 0o600)
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def note(self, what, seconds):
        self.worst[what] = max(self.worst[what], seconds)
        if seconds >= SLOW_S and len(self.slow) < LISTED:
            self.slow.append(f"{lab.instant(time.time() - seconds, exact=True)} {what} {seconds:.2f} s")

    def busy_percent(self):
        both = [now - then for now, then in zip(processor_ticks(), self.ticks)]
        return round(100 * (1 - both[1] / max(1, both[0])))

    def run(self):
        while not self.ended.is_set():
            began = time.monotonic()
            os.pwrite(self.fd, os.urandom(4096), 0)
            os.fsync(self.fd)
            wrote = time.monotonic()
            self.note("fsync", wrote - began)
            self.ended.wait(0.1)
            self.note("wake-up", time.monotonic() - wrote - 0.1)

    def close(self):
        self.ended.set()
        self.thread.join()
        os.close(self.fd)


class Soak:
    def __init__(self, place, session_timeout):
        self.lab = lab.Cluster(place, session_timeout=session_timeout,
                               before_start=lambda cluster: cluster.write_hosts(dual_stack=True))
        self.ledger, self.machine = lab.Ledger(place, "soak"), Machine(place)
        self.closing = [self.machine.close]

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
                "worst_ms": {what: round(1000 * seconds) for what, seconds in self.machine.worst.items()},
                "slow": list(self.machine.slow), "processors_busy_percent": self.machine.busy_percent(),
                "load_average": os.getloadavg(),
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
