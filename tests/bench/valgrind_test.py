#!/usr/bin/python3
"""A scripted session of the server under valgrind. By hand, with a build without sanitizers; needs valgrind. Of the docker
engine alone: the process engine executes /proc/self/exe, which is valgrind then.

  CRONSCHED_BUILD=build-release tests/bench/valgrind_test.py
"""

import os
import shutil
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lab"))
import lab  # noqa: E402


class Valgrind(lab.Suite):
    def session(self, server, ledger, engine):
        server.start(seconds=120)
        server.apply({
            "every": ledger.job(engine, schedule="* * * * * *", concurrency="allow"),
            "chain": ledger.job(engine, after=["fails"]),
            "fails": ledger.job(engine, "exit 1", retries={"max": 1, "delay": "1s"}),
            "slow": ledger.job(engine, "sleep 30", timeout="2s", stop_grace="1s"),
        })
        path = self.folder.write("broken.yaml", "jobs: {a: {schedule: '61 * * * *', comand: x}}\n")
        self.assertNotEqual(0, server.cli.call("apply", path).code)
        runs = [server.cli.trigger("fails", "--with-children"), server.cli.trigger("slow")]
        server.cli.trigger("slow", "--queue")
        time.sleep(5)
        for run in runs:
            server.cli.wait_end(run, 120)
        for words in (("jobs",), ("runs",), ("show", "every"), ("run", runs[0]), ("logs", runs[0]),
                      ("audit", "--since", lab.instant(time.time() - 60)), ("explain", "every", lab.instant(time.time() - 3)),
                      ("pause", "every"), ("resume", "every"), ("next", "--job", "every"), ("cluster",),
                      ("backfill", "every", "--from", "2026-01-01T00:00:00Z", "--to", "2026-01-01T00:00:05Z"),
                      ("delete", "chain")):
            server.cli.call(*words)
        server.http("GET", "/metrics")
        server.kill()
        server.start(seconds=120)
        server.cli.call("kill", server.cli.trigger("slow", "--queue"))
        server.stop(seconds=120)
        text = server.log()
        errors = [line for line in text.splitlines() if "ERROR SUMMARY" in line or "definitely lost:" in line
                  or "indirectly lost:" in line]
        lab.say("\n".join(errors))
        self.assertNone(line for line in errors if "ERROR SUMMARY: 0 errors" not in line and " 0 bytes" not in line)
        self.assertTrue(errors)

    def valgrind(self):
        if not shutil.which("valgrind"):
            self.skipTest("valgrind is not installed")
        return ["valgrind", "--leak-check=full", "--show-leak-kinds=definite,indirect", "--error-exitcode=99",
                "--errors-for-leak-kinds=definite,indirect", "--track-fds=no", "--child-silent-after-fork=yes"]

    def test_docker_engine(self):
        dockerd = lab.shared_docker()
        server = self.server(engines={"docker": lab.docker_engine(dockerd)}, wrapper=self.valgrind())
        self.session(server, lab.Ledger(self.folder), "docker")


if __name__ == "__main__":
    lab.main()
