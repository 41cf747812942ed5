#!/usr/bin/python3
"""What requests may cost: a job fires each second, the state is as large as it may be, and every route is driven with its worst
input, beside connections that do not read and idle ones. Says how late starts were, how long the loop was away, and how
long the health check and the unix socket took. By hand; needs a build without sanitizers to mean anything.

  CRONSCHED_BUILD=build-release tests/bench/load_test.py
  CRONSCHED_LOAD_JOBS (100000)  CRONSCHED_LOAD_ROWS (1000000)  CRONSCHED_LOAD_SECONDS (20) of each phase
  CRONSCHED_LOAD_ROUTE_SECONDS (3) of each route alone
  CRONSCHED_LOAD_UNREAD (600) connections that do not read  CRONSCHED_LOAD_IDLE (1100) that do not ask
"""

import itertools
import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lab"))
import lab  # noqa: E402
import load  # noqa: E402


def number(name, default):
    return int(os.environ.get(f"CRONSCHED_LOAD_{name}", default))


class Load(load.Loaded):
    def test_load(self):
        server, ledger = self.filled(number("JOBS", 100000), number("ROWS", 1000000))
        seconds = number("SECONDS", 20)
        time.sleep(number("SETTLE", 130))  # the start is over, also for the gap of the last minutes
        self.phase("nobody else", server, ledger, seconds)
        lab.say("each route alone, two callers:")
        for method, path, body in self.each_request():
            self.route(server, method, path, body, number("ROUTE_SECONDS", 3))
        self.phase("every route, 4 callers", server, ledger, seconds, [self.requests() for _ in range(4)])
        held = self.open_unread(number("UNREAD", 600))
        self.phase("beside connections that do not read", server, ledger, seconds, [self.requests() for _ in range(2)])
        for s in held:
            s.close()
        flood = [itertools.repeat(("GET", "/v1/defs", None)) for _ in range(16)]
        self.phase("16 callers of /v1/defs", server, ledger, seconds, flood)
        held = self.open(number("IDLE", 1100))
        self.phase("beside idle connections", server, ledger, seconds)
        for s in held:
            s.close()
        # thousands of batches: the hash of the state and a snapshot are made meanwhile
        self.phase("triggers from 16 callers", server, ledger, seconds, [self.triggers() for _ in range(16)])
        time.sleep(number("SETTLE", 130))  # the longest gap of the phases before is forgotten
        self.phase("applies of 10,000 jobs", server, ledger, seconds, [self.large_applies()])
        self.phase("pause and resume of all", server, ledger, seconds,
                   [itertools.cycle([("POST", "/v1/pause", {}), ("POST", "/v1/resume", {})])], may_pause=True)
        server.kill()


if __name__ == "__main__":
    lab.main()
