#!/usr/bin/python3
"""No request keeps a job from starting: a small part of tests/bench/load_test.py, which has the figures. The bounds here are far
above what is seen, and far below what one reply of the loop's old way, or one more way through `after`, would take.
"""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lab"))
import lab  # noqa: E402
import load  # noqa: E402

JOBS, ROWS, UNREAD, IDLE = 1500, 3000, 150, 560  # more than a listener takes
LATE_S, GAP_S, SLOW_S = 1.0, 0.25, 2.0


class RequestCost(load.Loaded):
    def check(self, seen):
        self.assertLess(seen.late, lab.scaled(LATE_S), "a start was late, or missing")
        self.assertLess(seen.gap, lab.scaled(GAP_S), "the loop was away")
        self.assertLess(seen.slowest, lab.scaled(SLOW_S), "a small request was slow, or not answered")

    def test_starts_are_in_time_beside_requests(self):
        server, ledger = self.filled(JOBS, ROWS)
        held = self.open_unread(UNREAD)
        self.check(self.phase("every route, beside connections that do not read", server, ledger, 5, [self.requests()]))
        for s in held:
            s.close()
        held = self.open(IDLE)
        self.check(self.phase("beside idle connections", server, ledger, 4))
        for s in held:
            s.close()
        server.stop()


if __name__ == "__main__":
    lab.main()
