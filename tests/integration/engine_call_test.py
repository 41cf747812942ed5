#!/usr/bin/python3
"""Torture of the engine's calls: the n-th request about a container to a real Docker Engine fails, for every n that a run
makes, in each of three manners: it never arrives, its answer is lost, it is refused. The run starts once or not at all, and the verdict is
what really happened.
"""

import json
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lab"))
import lab  # noqa: E402


class EveryCall(lab.Suite):
    side_by_side = 3

    @classmethod
    def setUpClass(cls):
        cls.dockerd = lab.shared_docker()

    def each(self, manner, may_fail=False):
        ledger, proxy = lab.Ledger(self.folder), lab.Proxy(self.folder.join("relay.sock"), self.dockerd.socket)
        self.addCleanup(proxy.close)
        server = self.server(engines={"docker": {"type": "docker", "endpoint": proxy.endpoint}}).start()
        server.apply({"j": ledger.docker_job("echo said; exit 3")})
        struck = []
        while True:
            rule = proxy.strike_nth("container", len(struck) + 1, manner)
            run = server.cli.wait_end(server.cli.trigger("j"), 120)
            proxy.spare(rule)
            if not rule.struck.is_set():
                break
            struck.append(rule.line)
            starts = ledger.starts(run["run"])
            self.assertEqual("failed", run["verdict"], f"{manner} {rule.line}: {run}")
            if not (may_fail and run["exit_code"] is None and starts == 0):
                self.assertEqual((1, 3), (starts, run["exit_code"]), f"{manner} {rule.line}: {run}")
                self.assertIn("said", server.cli.check("logs", run["run"]).out, f"{manner} {rule.line}: {run}")
                self.assertNotIn("does not give its output", json.dumps(run))
        calls = [" ".join(line.split()[:2]).split("?")[0] for line in struck]
        for part in ("/containers/create", "/start"):
            self.assertTrue(any(part in call for call in calls), f"{part} is not among {calls}")
        lab.say(f"{manner}: each of the {len(struck)} calls of a run")
        self.assertNone(lab.Checker(ledger).strict().problems)
        server.stop()

    def test_every_call_that_never_arrives(self):
        self.each("cut")

    def test_every_answer_that_is_lost(self):
        self.each("drop")

    def test_every_call_that_is_refused(self):
        self.each("fail", may_fail=True)


if __name__ == "__main__":
    lab.main()
