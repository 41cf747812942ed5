#!/usr/bin/python3
"""Many trials of what tests/integration/kubernetes_test.py does once, in a real Kubernetes of its own; starts are counted by the
containers. By hand, as root, with the programs that tests/lab/kubernetes.py names:

  CRONSCHED_KUBERNETES=TOOLS CRONSCHED_BUILD=build-release tests/bench/kubernetes_trials.py [--api 10] [--withdraw 50]
      [--stops 10] [--kubelet 10] [--runtime 10] [--node 1] [--at-once 100]

api       the API server killed with 8 releases under way, and started again
withdraw  the node gets the label that a run waits for at about the moment at which it is withdrawn
stops     a run is killed whose program exits with 7 on TERM
kubelet   the kubelet is killed at the first line of a run, and started again; runtime: containerd likewise
node      the kubelet stays away for 40 s: the run is told to be in doubt, and has its true exit code afterwards
at-once   so many runs are due at once, beside as many plain Pods
"""

import argparse
import collections
import os
import random
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lab"))
import lab  # noqa: E402
from kubernetes import NODE  # noqa: E402


class Trials:
    def __init__(self, folder):
        self.folder = folder
        self.kube = lab.Kubernetes(folder.make("k"), os.environ["CRONSCHED_KUBERNETES"])
        self.server = lab.Server(folder, engines={"kubernetes": self.kube.engine()}, config={"late_grace": "10m"})
        self.ledger = lab.Ledger(folder)
        self.server.start()

    def close(self):
        self.server.close()
        self.kube.close()

    def ended(self, runs, seconds=300):
        return [self.server.cli.wait_end(run, seconds) for run in runs]

    def job(self, body="true", **keys):
        return lab.kube_job(self.ledger, body, **keys)

    def judge(self, runs):
        """(doubles, unaccounted) of ended runs: what is not `lost` has run once, or provably not at all."""
        starts = self.ledger.starts()
        wrong = [r["run"] for r in runs if r["verdict"] in ("succeeded", "timed-out") and starts[r["run"]] != 1]
        wrong += [r["run"] for r in runs if r["verdict"] in ("deadline",) and starts[r["run"]] != 0]
        return sum(starts[r["run"]] > 1 for r in runs), wrong

    def restart(self, name):
        self.kube.kill(name)
        self.kube.start(name)

    def label(self, value):
        self.kube.done("PATCH", f"/api/v1/nodes/{NODE}", {"metadata": {"labels": {"race": value}}}, "application/merge-patch+json")

    def api(self, count):
        self.server.apply({f"m{i}": self.job("sleep 0.2") for i in range(8)})
        verdicts, doubles, wrong = collections.Counter(), 0, []
        for _ in range(count):
            lab.wait_for(self.kube.ready, 120, "the API server")
            lab.wait_for(lambda: "ok      engine" in self.server.cli.call("doctor").out, 60, "the engine")
            clients = [self.server.cli.begin("trigger", f"m{i}") for i in range(8)]
            lab.quiet_for(random.uniform(0, 0.25))
            self.restart("apiserver")
            for client in clients:
                client.wait(120)
            runs = self.ended([r["run"] for r in self.server.cli.runs("--limit", "8")])
            verdicts.update(r["verdict"] for r in runs)
            more, bad = self.judge(runs)
            doubles, wrong = doubles + more, wrong + bad
        return f"{count} losses of the API server, {8 * count} runs: {dict(verdicts)}, {doubles} doubles, wrong: {wrong}"

    def withdraw(self, count):
        outcome, wrong = collections.Counter(), []
        self.server.apply({"w": self.job("true", constraints=["race == yes"], start_within="2s")})
        for _ in range(count):
            self.label(None)
            run = self.server.cli.trigger("w")
            time.sleep(max(0, 1.9 + random.uniform(-0.3, 0.3)))
            self.label("yes")
            found = self.server.cli.wait_end(run, 60)
            starts = self.ledger.starts(run)
            outcome[(found["verdict"], starts)] += 1
            if found["verdict"] != "lost" and starts != (0 if found["verdict"] == "deadline" and not found["started"] else 1):
                wrong.append((run, found["verdict"], starts, found.get("text")))
        self.label(None)
        return f"{count} races of withdrawal and placement: (verdict, starts) {dict(outcome)}, wrong: {wrong}"

    def stops(self, count):
        note = f"read up rest < /proc/uptime; echo start $CRONSCHED_RUN $CRONSCHED_ATTEMPT $up >> {self.ledger.path}; "
        self.server.apply({"s": {**self.job(stop_grace="8s"),
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

    def killed(self, name, count):
        self.server.apply({"k": self.job("sleep 1; exit 4")})
        outcome = collections.Counter()
        for _ in range(count):
            lab.wait_for(self.kube.node_ready, 120, "the node")
            run = self.server.cli.trigger("k")
            lab.wait_for(lambda: self.ledger.starts(run), 60, "the start", every=0.001)
            self.restart(name)
            found = self.server.cli.wait_end(run, 200)
            outcome[(found["verdict"], found["exit_code"], self.ledger.starts(run))] += 1
        return f"{count} times {name} killed at the first line: (verdict, exit code, starts) {dict(outcome)}"

    def kubelet(self, count):
        return self.killed("kubelet", count)

    def runtime(self, count):
        return self.killed("runtime", count)

    def node(self, count):
        self.server.apply({"n": self.job("sleep 15; exit 6")})
        outcome, texts = collections.Counter(), set()
        for _ in range(count):
            lab.wait_for(self.kube.node_ready, 120, "the node")
            run = self.server.cli.trigger("n")
            lab.wait_for(lambda: self.ledger.starts(run), 60, "the start")
            self.kube.kill("kubelet")
            found = lab.wait_for(lambda: next((r for r in [self.server.cli.run(run)] if r["state"] == "unresolved"), None), 90, "doubt")
            texts.add(found["text"])
            lab.quiet_for(15)
            self.kube.start("kubelet")
            found = self.server.cli.wait_end(run, 200)
            outcome[(found["verdict"], found["exit_code"], self.ledger.starts(run))] += 1
        return f"{count} times the kubelet was away: (verdict, exit code, starts) {dict(outcome)}; told: {sorted(texts)}"

    def at_once(self, count):
        at = int(time.time()) + 25
        self.server.apply({f"a{i}": self.job("true", schedule=f"@at {lab.instant(at)}", timeout="20m") for i in range(count)})
        lab.wait_for(lambda: len(self.lines("a")) >= count, 900, lambda: f"{len(self.lines('a'))} starts")
        walls = self.lines("a")
        self.ended([lab.run_id(f"a{i}", at) for i in range(count)], 600)
        doubles = sum(n > 1 for n in self.ledger.starts().values())
        raw, rate = self.raw(count), count / (walls[-1] - at)
        return (f"{count} due at once: the first after {walls[0] - at:.1f} s, the last after {walls[-1] - at:.1f} s, {rate:.2f} "
                f"starts/s, {doubles} doubles; {count} plain Pods: {raw:.2f} starts/s: {100 * rate / raw:.0f} %")

    def lines(self, prefix):
        return sorted(x.wall for x in self.ledger.lines() if x.what == "start" and x.run.startswith(prefix))

    def raw(self, count):
        spec = {"restartPolicy": "Never", "volumes": [{"name": "v", "hostPath": {"path": self.ledger.folder}}], "containers": [
            {"name": "main", "image": "docker.io/library/busybox:local", "imagePullPolicy": "Never", "volumeMounts":
             [{"name": "v", "mountPath": self.ledger.folder}], "env": [{"name": "CRONSCHED_RUN", "value": "raw@1"}, {"name": "CRONSCHED_ATTEMPT", "value": "1"}],
             "command": ["sh", "-c", self.ledger.script(self.ledger.path)]}]}
        began = time.time()
        for i in range(count):
            self.kube.done("POST", "/api/v1/namespaces/default/pods", {"metadata": {"name": f"raw-{i}"}, "spec": spec})
        lab.wait_for(lambda: len(self.lines("raw@")) >= count, 900, lambda: f"{len(self.lines('raw@'))} starts")
        return count / (self.lines("raw@")[-1] - began)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("api", "withdraw", "stops", "kubelet", "runtime", "node", "at-once"):
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
