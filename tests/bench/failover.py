#!/usr/bin/python3
"""How soon the next start comes after the leader is gone: by kill -9, or because its machine loses its power (stopped,
and every packet lost). By hand; needs a build without sanitizers to mean anything:

  CRONSCHED_BUILD=build-release tests/bench/failover.py --rounds 50 [--jobs 20] [--engine docker] [power] [kill]

The jobs fire every second, each at a moment of its own within it. With the engine null, which starts at once, what is
measured is the take-over; docker is one engine that all replicas share, and how many containers the machine starts in a
second bounds the jobs; each replica has a process engine of its own. The grain is a second divided by the jobs. Times are
from the fault, in milliseconds: to the new leader's epoch, and to its first start, by the records of the journal.
"""

import argparse
import json
import os
import signal
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lab"))
import lab  # noqa: E402

QUIET_S = 3  # between two rounds: every link stands again
IN_CONTAINERS = {"docker": {"image": lab.IMAGE, "pull": "never", "network": "host"}}


def milliseconds(record):
    """When it was written."""
    whole, _, fraction = record["time"].rstrip("Z").partition(".")
    return lab.parse_instant(whole + "Z") * 1000 + int((fraction + "000")[:3])


class Failover:
    def __init__(self, place, session_timeout, jobs, engine):
        self.lab = lab.Cluster(place, session_timeout=session_timeout)
        made = {f"j{i}": {"schedule": "* * * * * *", "jitter": "1s", "engine": engine, "command": ["true"],
                          "concurrency": "allow", "keep": {"runs": 100}, **IN_CONTAINERS.get(engine, {})}
                for i in range(jobs)}
        path = self.lab.file("jobs.yaml")
        with open(path, "w") as f:
            json.dump({"jobs": made}, f)
        self.lab.cli.check("apply", path)

    def records(self, replica, kind, since_ms):
        since = f"{lab.instant(since_ms // 1000)[:-1]}.{since_ms % 1000:03d}Z"
        status, found = lab.DockerApi(replica.socket).call(
            "GET", f"/v1/records?kinds={kind}&limit=9999&since={since}")
        return found if status == 200 else []

    def strike(self, how, replica):
        if how == "kill":
            os.kill(replica.pid, signal.SIGKILL)
            return int(time.time() * 1000)
        os.kill(replica.pid, signal.SIGSTOP)
        at = int(time.time() * 1000)
        replica.space.unplug()
        return at

    def mend(self, replica):
        replica.kill()
        replica.space.heal()
        replica.start()
        lab.wait_for(lambda: all(r.ready() for r in self.lab.replicas.values()), 60, "all to be ready")
        lab.wait_for(lambda: all(r.get("fit") for r in self.lab.view()["replicas"]), 60, "all to be fit")

    def first(self, others, kind, at, epoch):
        """(record, replica) of the first of that kind since then in a newer epoch; None: not yet."""
        for replica in others:
            found = [r for r in self.records(replica, kind, at) if r["epoch"] > epoch]
            if found:
                return min(found, key=milliseconds)
        return None

    def first_start(self, others, since, epoch):
        """When the new leader first had something started; None: not yet. What it found started by the one before does not
        count."""
        for replica in others:
            found = [r["record"]["at"] for r in self.records(replica, "started", since) if r["epoch"] > epoch]
            if found := [at for at in found if at >= since]:
                return min(found)
        return None

    def round(self, how):
        view = self.lab.view()
        leader, epoch = self.lab.replicas[view["leader"]["id"]], view["epoch"]
        others = [r for r in self.lab.replicas.values() if r is not leader]
        time.sleep(QUIET_S)
        at = self.strike(how, leader)
        elected = lab.wait_for(lambda: self.first(others, "epoch", at, epoch), 60, "another epoch", every=0.1)
        started = lab.wait_for(lambda: self.first_start(others, int(milliseconds(elected)), epoch), 60, "a start", every=0.1)
        cause = elected["record"].get("cause")
        self.mend(leader)
        return int(milliseconds(elected) - at), started - at, cause

    def audit(self, since):
        time.sleep(5)
        answer = self.lab.cli.call("audit", "--since", since, "-o", "json", timeout=120)
        found = answer.json()
        return {key: value for key, value in found.items() if key.endswith("_count")}

    def close(self):
        self.lab.close()


def distribution(values):
    ordered = sorted(values)
    rank = [ordered[min(len(ordered) - 1, max(0, -(-len(ordered) * p // 100) - 1))] for p in (50, 90, 99)]
    return {"least": ordered[0], "median": rank[0], "p90": rank[1], "p99": rank[2], "max": ordered[-1], "all": ordered}


def main():
    parser = argparse.ArgumentParser(usage=__doc__.partition("mean anything:\n\n  ")[2].partition("\n")[0])
    parser.add_argument("how", nargs="*", choices=("power", "kill", []), default=[])
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--jobs", type=int, default=20)
    parser.add_argument("--engine", default="null", choices=("null", "docker", "process"))
    parser.add_argument("--session-timeout", default="10s")
    args = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # and all is closed
    place, bench = lab.Folder("failover"), None
    try:
        bench = Failover(place, args.session_timeout, args.jobs, args.engine)
        for how in args.how or ("power", "kill"):
            since, rounds = lab.instant(time.time()), []
            for _ in range(args.rounds):
                rounds.append(bench.round(how))
                print(how, len(rounds), *rounds[-1], file=sys.stderr, flush=True)
            print(json.dumps({"how": how, "engine": args.engine, "jobs": args.jobs,
                              "to_the_epoch_ms": distribution([r[0] for r in rounds]),
                              "to_the_first_start_ms": distribution([r[1] for r in rounds]),
                              "causes": sorted({r[2] for r in rounds}), "audit": bench.audit(since)}), flush=True)
    finally:
        if bench:
            bench.close()
        place.close()


if __name__ == "__main__":
    sys.exit(main())
