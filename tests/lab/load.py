"""Load on a server: a large state, callers of every route with its worst input, connections that do not read or do not ask, and
how late starts are beside them. For tests/bench/load_test.py and tests/integration/request_cost_test.py.
"""

import collections
import contextlib
import hashlib
import http.client
import itertools
import json
import os
import resource
import socket
import sqlite3
import threading
import time

import lab

JOBS_PER_APPLY = 10000
ROLES = ("read", "operate", "admin")

# Of a phase, in seconds: how late the latest start was, the longest gap of the loop, what of such gaps it computed, the slowest
# of the small requests.
Seen = collections.namedtuple("Seen", "late gap computed slowest")


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path, timeout):
        super().__init__("localhost", timeout=timeout)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


class Loaded(lab.Suite):
    """A suite whose server has a large state and is asked for much."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 65536), hard))

    # ---- the largest state ----

    def tokens(self):
        lines = [f"{role} {role} {hashlib.sha256(role.encode() * 8).hexdigest()}" for role in ROLES]
        return self.folder.write("tokens", "\n".join(lines) + "\n")

    @staticmethod
    def many_jobs(first, end, description="one of very many"):
        return {f"job-{i:06}": {"schedule": f"{i % 60} 4 1 1 *", "command": ["true"], "engine": "null",
                                "description": description} for i in range(first, end)}

    @classmethod
    def large_applies(cls):
        """The most jobs that one apply may have, each of them changed each time."""
        for i in itertools.count():
            yield "POST", "/v1/apply", {"jobs": cls.many_jobs(0, JOBS_PER_APPLY, f"changed {i} times")}

    def fill_jobs(self, server, count):
        for at in range(0, count, JOBS_PER_APPLY):
            jobs = self.many_jobs(at, min(at + JOBS_PER_APPLY, count))
            status, answer = server.http("POST", "/v1/apply", {"jobs": jobs}, timeout=120)
            self.assertEqual(200, status, answer)

    @staticmethod
    def fill_history(path, rows, now_ms):
        def row(i):
            at = now_ms - 86400000 * 5 - i * 400
            run = f"job-{i % 1000:06}@{time.strftime('%Y%m%dT%H%M%S', time.gmtime(at // 1000))}.{at % 1000:03}Z"
            doc = json.dumps({"run": run, "job": run.split("@")[0], "state": "ended", "verdict": "succeeded",
                              "cause": "manual", "text": "x" * 100})
            return (run, run.split("@")[0], at, at, 1, "ended", "succeeded", "manual", at, at, 1, 0, doc)

        with contextlib.closing(sqlite3.connect(path)) as db:
            db.execute("PRAGMA synchronous = 0")
            db.executemany("INSERT INTO runs VALUES(?,?,?,?,?,?,?,?,?,?,?,?,?)", map(row, range(rows)))
            db.executemany("INSERT INTO records VALUES(0,?,?,1,'note',?,NULL,?)",
                           ((i, now_ms - i, f"job-{i % 1000:06}", json.dumps({"k": "note", "text": "x" * 100}))
                            for i in range(rows // 10)))
            db.commit()

    def filled(self, jobs, rows):
        """A server with so many jobs and rows of history, on which `tick` fires each second into the ledger."""
        ledger = lab.Ledger(self.folder)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        server = self.server(engines={"process": {"type": "process"}, "null": {"type": "null"}},
                             config={"tokens_file": self.tokens()})
        server.config["listen"].append(f"127.0.0.1:{self.port}")
        server.config["max_state"] = "256m"
        server.start()
        began = time.monotonic()
        self.fill_jobs(server, jobs)
        server.stop()
        self.fill_history(os.path.join(server.data, "history.db"), rows, int(time.time() * 1000))
        server.start(seconds=300)
        lab.say(f"filled within {time.monotonic() - began:.0f} s")
        server.apply({"tick": ledger.process_job(schedule="* * * * * *", concurrency="allow", keep={"runs": 100}),
                      "other": {"command": ["true"], "engine": "null", "schedule": "* * * * *"},
                      "many": {"command": ["true"], "engine": "null", "concurrency": "allow"}})
        time.sleep(5)
        return server, ledger

    # ---- the callers ----

    def tcp(self, timeout=40):
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)

    def ask(self, connection, method, path, body=None, role="admin"):
        """The status, or the error in a word. The body is read to its end."""
        try:
            headers = {"Authorization": "Bearer " + role * 8}
            if body is not None:
                headers["Content-Type"] = "application/json"
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            answer = connection.getresponse()
            while answer.read(1 << 20):
                pass
            return answer.status
        except (OSError, http.client.HTTPException) as e:
            connection.close()
            return type(e).__name__

    def open_unread(self, count, path="/v1/defs"):
        """Connections that have asked and take nothing."""
        request = f"GET {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {'read' * 8}\r\n\r\n".encode()
        return self.open(count, request)

    def open(self, count, send=b""):
        found = []
        for _ in range(count):
            s = socket.socket()
            s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            s.setblocking(False)
            with contextlib.suppress(OSError):
                s.connect(("127.0.0.1", self.port))
            found.append(s)
        time.sleep(0.5)
        for s in found:
            with contextlib.suppress(OSError):
                s.send(send)
        return found

    @staticmethod
    def each_request():
        """Every route with its worst input, and what changes jobs: (method, path, body)."""
        layers = {f"l{layer}-{i}": {"command": ["true"], "engine": "null",
                                    **({"after": [f"l{layer - 1}-{k}" for k in range(16)]} if layer else {})}
                  for layer in range(20) for i in range(16)}
        span = {"from": "2026-01-01T00:00:00Z", "to": "2026-01-04T00:00:00Z"}
        paths = ["/v1/jobs", "/v1/jobs/tick", "/v1/jobs/job-does-not-exist-" + "x" * 70, "/v1/defs", "/v1/runs",
                 "/v1/runs?limit=10000", "/v1/runs?job=tick", "/v1/runs/tick@20260101T000000Z",
                 "/v1/runs/tick@20260101T000000Z/logs", "/v1/records?kinds=all&limit=9999",
                 "/v1/explain?job=job-000001&time=2026-01-01T04:01:00Z", "/v1/audit?since=2026-01-01T00:00:00Z&job=tick",
                 "/v1/cluster", "/v1/doctor", "/v1/version", "/healthz", "/readyz", "/metrics",
                 "/v1/peer/history?first=1&last=100000", "/v1/nothing"]
        changes = [("POST", "/v1/apply", {"jobs": layers, "dry_run": True}),
                   ("POST", "/v1/jobs/other/backfill", {**span, "dry_run": True}),
                   ("POST", "/v1/jobs/nobody/trigger", {}), ("POST", "/v1/jobs/job-000007/pause", {}),
                   ("POST", "/v1/jobs/job-000007/resume", {}), ("DELETE", "/v1/jobs/job-nobody-knows", None),
                   ("POST", "/v1/runs/job-000007@20260101T000000Z/kill", {})]
        return [("GET", path, None) for path in paths] + changes

    @classmethod
    def requests(cls):
        """All of them, for ever."""
        for i in itertools.count():
            yield from cls.each_request()
            yield cls.trigger(i)

    @staticmethod
    def trigger(i):
        return "POST", "/v1/jobs/many/trigger", {"key": f"k{os.getpid()}-{threading.get_ident()}-{i}"}

    @classmethod
    def triggers(cls):
        return (cls.trigger(i) for i in itertools.count())

    # ---- a phase ----

    def phase(self, name, server, ledger, seconds, callers=(), may_pause=False):
        """Runs the callers for a while and says what the starts, the loop and the probes were like. may_pause: fire times in a
        pause are no starts that are missing."""
        done, counts, probes = threading.Event(), {}, {"unix": [], "tcp": []}

        def drive(requests):
            connection = self.tcp()
            for method, path, body in requests:
                if done.is_set():
                    break
                status = self.ask(connection, method, path, body)
                counts[status] = counts.get(status, 0) + 1

        def probe():
            while not done.is_set():
                for kind, path, make in (("unix", "/v1/version", lambda: UnixConnection(server.socket, 20)),
                                         ("tcp", "/healthz", lambda: self.tcp(20))):
                    connection, began = make(), time.monotonic()
                    answered = self.ask(connection, "GET", path) == 200
                    probes[kind].append(time.monotonic() - began if answered else 99)
                    connection.close()
                time.sleep(0.3)

        threads = [threading.Thread(target=drive, args=(c,), daemon=True) for c in callers]
        threads.append(threading.Thread(target=probe, daemon=True))
        begun = int(time.time()) + 1
        for t in threads:
            t.start()
        time.sleep(seconds)
        until = int(time.time()) - 1
        done.set()
        for t in threads:
            t.join(60)
        time.sleep(2)
        starts = {line.run: line.wall for line in ledger.lines() if line.what == "start"}
        late = [starts.get(lab.run_id("tick", t), t + 99) - t for t in range(begun, until)]
        if may_pause:
            late = [x for x in late if x < 90] or [0]
        gap = server.metric("cronsched_loop_gap_seconds")
        computed = server.metric("cronsched_loop_gap_cpu_seconds") or 0  # an older build does not tell
        rss = server.metric("process_resident_memory_bytes") / 1e6
        slow = {kind: max(times, default=99) for kind, times in probes.items()}
        missing = sum(x > 90 for x in late)
        lab.say(f"{name}: latest of {len(late)} starts {max(late) * 1000:.0f} ms late, {missing} missing; loop gap "
                f"{gap * 1000:.0f} ms, computing {computed * 1000:.0f} ms; unix socket {slow['unix'] * 1000:.0f} ms, /healthz {slow['tcp'] * 1000:.0f} ms; "
                f"{rss:.0f} MB; {dict(sorted(counts.items(), key=str))}")
        return Seen(max(late), gap, computed, max(slow.values()))

    def route(self, server, method, path, body, seconds):
        """One route, from two callers for a while: how slow its answers were, and those to a health check beside them."""
        done, answers, counts = threading.Event(), [0], {}

        def drive():
            connection = self.tcp()
            while not done.is_set():
                began = time.monotonic()
                status = self.ask(connection, method, path, body)
                answers.append(time.monotonic() - began)
                counts[status] = counts.get(status, 0) + 1

        threads = [threading.Thread(target=drive, daemon=True) for _ in range(2)]
        for t in threads:
            t.start()
        until, worst = time.monotonic() + seconds, 0
        connection = UnixConnection(server.socket, 20)
        while time.monotonic() < until:
            began = time.monotonic()
            self.assertEqual(200, self.ask(connection, "GET", "/healthz"))
            worst = max(worst, time.monotonic() - began)
            time.sleep(0.005)
        done.set()
        for t in threads:
            t.join(60)
        connection.close()
        lab.say(f"  {method} {path[:60]}: slowest answer {max(answers) * 1000:.0f} ms, of a health check beside it "
                f"{worst * 1000:.0f} ms; {dict(sorted(counts.items(), key=str))}")
