#!/usr/bin/python3
"""Many trials of what tests/integration/swarm_test.py does once, on a real Docker Swarm of its own; starts are counted by the
containers. By hand, as root:

  CRONSCHED_BUILD=build-release tests/bench/swarm_trials.py [--managers 10] [--withdraw 50] [--stops 10] [--worker 14]
                                                            [--at-once 100]

managers  the leading manager killed, or stopped for 15 s, with 8 releases under way
withdraw  a node gets the label that a run waits for at about the moment at which it is withdrawn
stops     a run is killed whose program exits with 7 on TERM
worker    the engine of a worker is killed at the first line of a run, and started again; every other one has the start guard
at-once   so many runs are due at once, beside one service with as many replicas
"""

import argparse
import collections
import os
import random
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lab"))
import lab  # noqa: E402


class Trials:
    def __init__(self, folder):
        self.folder = folder
        self.swarm = lab.Swarm(folder.make("s"), heartbeat_s=5)
        self.server = lab.Server(folder, engines={"swarm": self.swarm.engine()}, config={"late_grace": "10m"})
        self.ledger = lab.Ledger(folder)
        self.server.start()

    def close(self):
        self.server.close()
        self.swarm.close()

    def jobs(self, jobs):
        self.server.apply(jobs)

    def ended(self, runs, seconds=300):
        return [self.server.cli.wait_end(run, seconds) for run in runs]

    def judge(self, runs):
        """(doubles, unaccounted) of ended runs: what is not `lost` has run once, or provably not at all."""
        starts = self.ledger.starts()
        wrong = [r["run"] for r in runs if r["verdict"] in ("succeeded", "timed-out") and starts[r["run"]] != 1]
        wrong += [r["run"] for r in runs if r["verdict"] in ("deadline",) and starts[r["run"]] != 0]
        return sum(starts[r["run"]] > 1 for r in runs), wrong

    def ready(self):
        lab.wait_for(lambda: self.swarm.ready() == 4 and self.swarm.leader() is not None, 120, "the Swarm", every=0.3)

    def managers(self, count):
        self.jobs({f"m{i}": lab.swarm_job(self.ledger, "sleep 0.2") for i in range(8)})
        verdicts, texts, doubles, wrong = collections.Counter(), collections.Counter(), 0, []
        for trial in range(count):
            self.ready()
            node = self.swarm.nodes[self.swarm.leader()]
            clients = [self.server.cli.begin("trigger", f"m{i}") for i in range(8)]
            lab.quiet_for(random.uniform(0, 0.3))
            if trial % 2:
                node.pause()
                lab.quiet_for(15)
                node.resume()
            else:
                node.kill()
                node.start()
            for client in clients:
                client.wait(120)
            runs = self.ended([r["run"] for r in self.server.cli.runs("--limit", "8")])
            verdicts.update(r["verdict"] for r in runs)
            texts.update(len(r["attempts"]) for r in runs)
            more, bad = self.judge(runs)
            doubles, wrong = doubles + more, wrong + bad
        return f"{count} losses of the leading manager, {8 * count} runs: {dict(verdicts)}, {doubles} doubles, wrong: {wrong}"

    def withdraw(self, count):
        outcome, wrong = collections.Counter(), []
        self.jobs({"w": lab.swarm_job(self.ledger, "true", constraints=["node.labels.race == yes"], start_within="2s")})
        for _ in range(count):
            self.swarm.update_node(3, Labels={})
            run = self.server.cli.trigger("w")
            time.sleep(max(0, 1.75 + random.uniform(-0.3, 0.4)))
            self.swarm.update_node(3, Labels={"race": "yes"})
            found = self.server.cli.wait_end(run, 60)
            starts = self.ledger.starts(run)
            outcome[(found["verdict"], starts)] += 1
            if starts != (0 if found["verdict"] == "deadline" else 1):
                wrong.append((run, found["verdict"], starts, found.get("text")))
        self.swarm.update_node(3, Labels={})
        return f"{count} races of withdrawal and placement: {dict(outcome)}, wrong: {wrong}"

    def stops(self, count):
        note = "read up rest < /proc/uptime; echo start $CRONSCHED_RUN $CRONSCHED_ATTEMPT $up >> /ledger/lines; "
        self.jobs({"s": {**lab.swarm_job(self.ledger, stop_grace="8s"),
                         "command": ["sh", "-c", f"trap 'echo bye; exit 7' TERM; {note} while :; do sleep 0.05; done"]}})
        codes, logs = collections.Counter(), 0
        for _ in range(count):
            run = self.server.cli.trigger("s")
            lab.wait_for(lambda: self.ledger.starts(run), 60, "the start")
            self.server.cli.check("kill", run)
            found = self.server.cli.wait_end(run, 60)
            codes[(found["verdict"], found["exit_code"])] += 1
            logs += self.server.cli.check("logs", run).out == "bye\n"
        return f"{count} stops: {dict(codes)}, {logs} whole logs"

    def worker(self, count):
        plain = lab.swarm_job(self.ledger, "sleep 1", constraints=["node.role == worker"])
        self.jobs({"plain": plain, "guarded": {**plain, "entrypoint": []}})
        outcome = collections.Counter()
        for trial in range(count):
            self.ready()
            job = ("plain", "guarded")[trial % 2]
            run = self.server.cli.trigger(job)
            lab.wait_for(lambda: self.ledger.starts(run), 60, "the start", every=0.001)
            self.swarm.nodes[3].kill()
            lab.quiet_for(2)
            self.swarm.nodes[3].start()
            found = self.server.cli.wait_end(run, 120)
            outcome[(job, found["verdict"], self.ledger.starts(run))] += 1
        return f"{count} times the engine of a worker killed at the first line: (job, verdict, starts) {dict(outcome)}"

    def at_once(self, count):
        at = int(time.time()) + 20
        self.jobs({f"a{i}": lab.swarm_job(self.ledger, "true", schedule=f"@at {lab.instant(at)}", timeout="20m")
                   for i in range(count)})
        lab.wait_for(lambda: len(self.lines(at)) >= count, 600, lambda: f"{len(self.lines(at))} starts")
        lines = sorted(line.wall for line in self.lines(at))
        self.ended([lab.run_id(f"a{i}", at) for i in range(count)], 600)
        doubles = sum(n > 1 for n in self.ledger.starts().values())
        raw = self.raw(count)
        rate = count / (lines[-1] - at)
        return (f"{count} due at once: the first after {lines[0] - at:.1f} s, the last after {lines[-1] - at:.1f} s, {rate:.2f} "
                f"starts/s, {doubles} doubles; one service with {count} replicas: {raw:.2f} starts/s: {100 * rate / raw:.0f} %")

    def lines(self, at):
        return [x for x in self.ledger.lines() if x.what == "start" and x.run.startswith("a") and x.wall > at - 1]

    def raw(self, count):
        folder = self.folder.make("raw", mode=0o777)
        began = time.time()
        self.swarm.call("POST", "/services/create", {
            "Name": "raw", "Mode": {"Replicated": {"Replicas": count}}, "EndpointSpec": {"Mode": "dnsrr"},
            "TaskTemplate": {"RestartPolicy": {"Condition": "none"}, "ContainerSpec": {
                "Image": lab.IMAGE, "Command": ["sh", "-c", "echo >> /raw/lines"],
                "Mounts": [{"Type": "bind", "Source": folder, "Target": "/raw"}]}}})
        path = os.path.join(folder, "lines")
        lab.wait_for(lambda: os.path.exists(path) and os.path.getsize(path) >= count, 600, "all replicas")
        seconds = os.path.getmtime(path) - began
        self.swarm.call("DELETE", "/services/raw")
        return count / seconds


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("managers", "withdraw", "stops", "worker", "at-once"):
        parser.add_argument(f"--{name}", type=int, default=0)
    args = vars(parser.parse_args())
    folder = lab.Folder("w")
    trials = Trials(folder)
    try:
        for name, count in args.items():
            if count:
                began = time.monotonic()
                text = getattr(trials, name)(count)
                print(f"{name}: {text}; {time.monotonic() - began:.0f} s", flush=True)
    finally:
        trials.close()
        folder.close()


if __name__ == "__main__":
    main()
