#!/usr/bin/python3
"""A lab under random faults, all from a seed, with jobs that fire all the while; then the checker's verdict.

usage: contrib/lab storm [--faults N | --minutes M] [--seed S] [--only NEMESIS]... [--session-timeout D] [--out DIR]

Prints the verdict as JSON; DIR (here, if not given) gets plan.json, ledger, verdict.json and picture.svg. Exit code 1 when
a rule is broken or the servers' own audit disagrees. SIGINT or SIGTERM: no more faults, then the verdict of what there was.
"""

import argparse
import calendar
import json
import os
import random
import signal
import sys
import time

import checker
import nemesis
from cluster import Cluster
from docker import DockerApi
from pace import scaled
from place import Folder, LabError, wait_for
from server import END_STATES, instant, parse_instant

EPSILON_S = 120  # as late as a start may be after a fault: the longest outage, and settling, on a fast machine
JOBS = 4
FIRST_S = 10  # from the apply to the first fire time
RECOVERY_S = 120
ENGINE_READY_S = 30  # from its start until it has found what it had left
LOST_WITHIN_S = 60  # from the end of such a fault until all that was under way has its verdict
OPEN_STATES = ("waiting", "armed", "starting", "running", "retrying", "unresolved")


def job(ledger, interval, first):
    """From `first` on every so many seconds, in a container that notes its start, sleeps for a moment, and notes its end."""
    note = ("note() { read up rest </proc/uptime; "
            "echo $1 $CRONSCHED_RUN $CRONSCHED_ATTEMPT $CRONSCHED_EPOCH $up >>/ledger/torment; }; ")
    return {"schedule": f"*/{interval} * * * * *", "start": instant(first), "image": "busybox:local", "pull": "never", "engine": "docker",
            "concurrency": "allow", "catch_up": "all", "max_catch_up": 1000, "keep": {"runs": 1000000},
            "volumes": [f"{ledger}:/ledger"],
            "command": ["sh", "-c", note + "note start; sleep 0.1; note end"]}


class Torment:
    def __init__(self, lab, seed, faults, minutes=None, only=(), say=print):
        self.lab, self.seed, self.say = lab, seed, say
        self.faults, self.seconds, self.asked_to_end = faults, minutes and minutes * 60, False
        self.chance = random.Random(seed)
        self.epsilon = round(scaled(EPSILON_S))  # a slow machine's engine starts so few containers a second
        self.kinds = [k for k in nemesis.ALL if (not only or k.__name__ in only) and k.possible(lab)]
        self.struck, self.leaders, self.plan_jobs = [], [], {}
        self.ledger = os.path.join(lab.ledger_folder, "torment")
        with open(self.ledger, "w"):
            pass
        os.chmod(self.ledger, 0o666)

    def see_leader(self):
        try:
            leader = self.lab.leader()
        except LabError:
            leader = None
        if leader and (not self.leaders or self.leaders[-1]["who"] != leader):
            self.leaders.append({"at": time.time(), "who": leader})

    def begin(self):
        intervals = {f"t{i}": self.chance.choice((1, 2, 3, 5)) for i in range(JOBS)}
        path = os.path.join(self.lab.path, "torment.yaml")
        self.lab.wait_leader()
        self.first = int(time.time()) + FIRST_S
        with open(path, "w") as f:
            json.dump({"jobs": {n: job(self.lab.ledger_folder, i, self.first) for n, i in intervals.items()}}, f)
        self.lab.cli.check("apply", path)
        for name, interval in intervals.items():  # all of them divide a minute
            start = next(t for t in range(self.first, self.first + 61) if t % interval == 0)
            self.plan_jobs[name] = {"start": start, "interval": interval, "duration": 1, "epsilon": self.epsilon}

    def one(self):
        fault = self.chance.choice(self.kinds)(self.lab, self.chance)
        length = self.chance.uniform(*fault.length_s)
        began = time.time()
        fault.strike()
        until = time.monotonic() + length
        while time.monotonic() < until:
            self.see_leader()
            time.sleep(min(0.5, max(until - time.monotonic(), 0)))
        fault.mend()
        self.struck.append({"from": began, "to": time.time(), "what": fault.what, "target": fault.target})
        goal = f" of {self.faults}" if not self.seconds else ""
        self.say(f"{instant(began)} {len(self.struck)}{goal}: {fault.what} {fault.target or ''} {length:.1f} s")

    def end_early(self, sig, _frame):
        """For a signal: no more faults, but the recovery and the verdict. The second one ends all."""
        self.asked_to_end = True
        signal.signal(sig, lambda *_: sys.exit(1))

    def goes_on(self):
        if self.asked_to_end:
            return False
        if self.seconds:
            return time.monotonic() < self.began + self.seconds
        return len(self.struck) < self.faults

    def storm(self):
        self.began = time.monotonic()
        while self.goes_on():
            self.one()
            until = time.monotonic() + self.chance.uniform(0, 4)
            while time.monotonic() < until:
                self.see_leader()
                time.sleep(0.2)

    def recover(self):
        """All is mended: from here on everything has to come right by itself."""
        nemesis.wake_all(self.lab)
        for name in self.lab.names():
            service = self.lab.service(name)
            if not service.pid:
                self.lab.start(name)
        self.last = int(time.time())
        wait_for(lambda: len(self.lab.view().get("replicas", [])) == len(self.lab.replicas), RECOVERY_S,
                 lambda: f"all replicas to be back: {self.lab.view()}", every=0.5)
        self.see_leader()
        wait_for(lambda: not self.open_yet(), self.epsilon + RECOVERY_S, lambda: f"these to start: {self.open_yet()[:9]}",
                 every=1)

    def plan(self, read):
        for made in self.plan_jobs.values():
            made["count"] = max(0, (int(read) - made["start"]) // made["interval"] + 2)
        boot = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
        return {"jobs": self.plan_jobs, "read": read, "boot": boot, "faults": self.struck, "leaders": self.leaders}

    def lost(self):
        """(those that may be, the others as told): runs of which the servers say that nobody can know whether they started, or
        how they ended. That may be over an engine that was restarted or a journal that was lost."""
        causes = [f for f in self.struck if f["what"] in ("RestartEngine", *nemesis.FORGETTING)]
        told = {run["run"]: run for run in self.lab.cli.json("runs", "--verdict", "lost")}
        caused = {name for name, run in told.items()
                  if any(f["from"] - 1 <= parse_instant(run["ended"]) <= f["to"] + LOST_WITHIN_S for f in causes)}
        return caused, {name: run for name, run in told.items() if name not in caused}

    def unstarted(self):
        """Fire times up to the end of the storm without a start."""
        with open(self.ledger) as f:
            runs, _ = checker.read_ledger(f.read(), 0)
        owed = [(n, t) for n, j in self.plan_jobs.items() for t in range(j["start"], self.last, j["interval"])]
        return sorted(checker.name(*o) for o in owed if o not in runs or not runs[o].starts)

    def cut_off(self, run):
        """The engine says that it started, and ended when the engine did: before it noted anything."""
        ended = parse_instant(run["ended"]) if run.get("started") and run.get("ended") else 0
        return any(f["from"] - 1 <= ended <= f["to"] + ENGINE_READY_S for f in self.struck if f["what"] == "RestartEngine")

    def forgotten(self):
        """Those of them that the servers say were skipped because the journal of their time was lost; only after a fault
        that loses it."""
        if not any(f["what"] in nemesis.FORGETTING for f in self.struck):
            return set()
        replica = self.lab.replicas[self.lab.wait_leader()]
        status, records = DockerApi(replica.socket).call("GET", "/v1/records?kinds=skipped&limit=9999")
        if status != 200:
            raise LabError(f"the records of skipped fire times: {status} {records}")
        skips = [r["record"] for r in records if r["record"]["reason"] == "journal-lost"]
        ranges = [(s["job"], s["from"] / 1000, s["to"] / 1000) for s in skips]
        found = set()
        for name in self.unstarted():
            job, _, basic = name.partition("@")
            at = calendar.timegm(time.strptime(basic, "%Y%m%dT%H%M%SZ"))
            if any(job == j and first <= at <= last for j, first, last in ranges):
                found.add(name)
        return found

    def open_yet(self):
        """Those of them that the servers have not ended: they may still start."""
        forgotten = self.forgotten()
        return [name for name in self.unstarted()
                if name not in forgotten and (self.lab.cli.run(name) or {}).get("state") not in END_STATES]

    def agrees(self, audit):
        """Nothing is doubled or without account. The history may lack batches of which a fault took the journal."""
        if audit.code == 0:
            return True
        if not any(f["what"] in nemesis.FORGETTING for f in self.struck):
            return False
        try:
            found = audit.json()
        except (ValueError, LabError):
            return False
        return not any(found[f"{what}_count"] for what in ("unaccounted", "doubled", "range"))

    def verdict(self):
        """(verdict, plan, ledger, what was forgiven). The servers are asked only whether they agree."""
        plan = self.plan(self.last + self.epsilon + checker.FORGIVENESS_S + 1)  # all up to the storm's end is owed
        for made in plan["jobs"].values():
            made["count"] += self.epsilon + 2 * RECOVERY_S
        with open(self.ledger) as f:
            text = f.read()
        verdict = checker.check(plan, text)
        # An engine that is killed cuts containers off: they started, once, and have no end, or never came to note it.
        (lost, without_cause), forgotten = self.lost(), self.forgotten()
        ended = {name: self.lab.cli.run(name) for name in self.unstarted() if name not in lost | forgotten}
        cut_off = {name for name, run in ended.items() if run and self.cut_off(run)}
        forgive = set(verdict["incomplete"]) | lost | forgotten | cut_off
        verdict = checker.check(plan, text, forgive=forgive)
        audit = self.lab.cli.call("audit", "--since", instant(self.first), "--until", instant(self.last), "-o", "json",
                                  timeout=scaled(120))
        verdict.update(seed=self.seed, seconds=round(self.last - self.first), epsilon=self.epsilon, faults=len(self.struck),
                       leaders=len(self.leaders), lost=sorted(lost), lost_without_cause=without_cause,
                       journal_lost=sorted(forgotten), cut_off=sorted(cut_off),
                       unexplained={n: run for n, run in ended.items() if n not in cut_off},
                       audit="agrees" if self.agrees(audit) else str(audit))
        verdict["valid"] = verdict["valid"] and verdict["audit"] == "agrees" and not without_cause
        return verdict, plan, text, forgive


def torment(lab, seed, faults, minutes=None, only=(), out=None, say=print):
    """The whole; the verdict. What came of it is in `out`, also when it ended early."""
    storm = Torment(lab, seed, faults, minutes, only, say)
    for sig in (signal.SIGINT, signal.SIGTERM):
        signal.signal(sig, storm.end_early)
    storm.last = int(time.time())
    storm.begin()
    trouble = None
    try:
        storm.storm()
        storm.recover()
    except LabError as e:
        trouble = str(e)
    finally:
        verdict, plan, ledger, forgiven = storm.verdict()
        if trouble:
            verdict.update(valid=False, trouble=trouble)
        for name, text in (("plan.json", json.dumps(plan, indent=1)), ("ledger", ledger),
                           ("verdict.json", json.dumps(verdict, indent=1)),
                           ("picture.svg", checker.picture(plan, ledger, forgiven))):
            if out:
                with open(os.path.join(out, name), "w") as f:
                    f.write(text)
    return verdict


def main():
    parser = argparse.ArgumentParser(usage=__doc__.partition("usage: ")[2].partition("\n\n")[0])
    parser.add_argument("--faults", type=int, default=20, help="how many, each some seconds long (20)")
    parser.add_argument("--minutes", type=float, help="how long, in place of how many faults")
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 30), help="of all chance; printed")
    parser.add_argument("--only", action="append", default=[], choices=[k.__name__ for k in nemesis.ALL], metavar="NEMESIS",
                        help="these alone: " + ", ".join(k.__name__ for k in nemesis.ALL))
    parser.add_argument("--session-timeout", default="4s", metavar="D", help="of the replicas with ZooKeeper (4s)")
    parser.add_argument("--out", metavar="DIR", help="where the plan, ledger, verdict and picture go")
    args = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # and all is closed
    place = Folder("torment")
    out = os.path.abspath(args.out) if args.out else os.getcwd()
    os.makedirs(out, exist_ok=True)
    lab, disks = None, []
    try:
        lab = Cluster(place, session_timeout=args.session_timeout, before_start=lambda lab: disks.extend(
            nemesis.small_disks(lab)))
        verdict = torment(lab, args.seed, args.faults, args.minutes, args.only, out,
                          lambda text: print(text, file=sys.stderr, flush=True))
        print(json.dumps(verdict, indent=1))
        return 0 if verdict["valid"] else 1
    finally:
        if lab:
            lab.close()
        for disk in disks:
            disk.close()
        place.close()


if __name__ == "__main__":
    sys.exit(main())
