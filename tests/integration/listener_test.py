#!/usr/bin/python3
"""Clients that mean no good, at the listeners of a server that fires a job every second: parts of a TLS hello, floods of
handshakes, connections that are held. Every job starts in time, and the unix socket and /healthz answer."""

import os
import socket
import ssl
import sys
import threading
import time
import urllib.request

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lab"))
import certificates  # noqa: E402
import lab  # noqa: E402

LATE_S = 0.1
HELLOS_A_SECOND = 200
HELD = 1100


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def client_hello():
    """The first flight of a real client."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = ssl.create_default_context().wrap_bio(incoming, outgoing, server_hostname="localhost")
    try:
        tls.do_handshake()
    except ssl.SSLWantReadError:
        pass
    return outgoing.read()


class Listener(lab.Suite):
    def setUp(self):
        super().setUp()
        self.port = free_port()
        certificates.certificates(self.folder.path)
        self.tls_server = self.server(
            engines={"null": {"type": "null"}},
            config={"listen": [f"unix:{self.folder.join('server')}/cronsched.sock", f"127.0.0.1:{self.port}"],
                    "tls": {name: self.folder.join(f"{what}.{kind}") for name, what, kind in (
                        ("cert", "server", "pem"), ("key", "server", "key"), ("ca", "ca", "pem"))}}).start()
        self.trust = ssl.create_default_context(cafile=self.folder.join("ca.pem"))
        self.tls_server.apply({"tick": {"image": "none", "schedule": "* * * * * *"}})

    def connect(self):
        return socket.create_connection(("127.0.0.1", self.port), timeout=lab.scaled(20))

    def healthy(self):
        url = f"https://127.0.0.1:{self.port}/healthz"
        with urllib.request.urlopen(url, context=self.trust, timeout=lab.scaled(10)) as answer:
            return answer.status == 200

    def worst_start_s(self, since):
        """Seconds, of the runs since then; there has to be one for each second."""
        runs = [r for r in self.tls_server.cli.runs("tick", "--limit", "1000")
                if r.get("started") and lab.parse_instant(r["fire_time"]) >= since]
        self.assertGreaterEqual(len(runs), time.time() - since - 3)
        return max(lab.parse_instant(r["started"]) - lab.parse_instant(r["fire_time"]) for r in runs)

    def while_jobs_fire(self, what, seconds):
        """Does it on a thread, looks at the socket and /healthz meanwhile, and tells the worst start."""
        since = time.time() + 1
        until = time.monotonic() + seconds
        thread = threading.Thread(target=what, args=(until,))
        slowest = 0.0
        thread.start()
        while thread.is_alive():
            begun = time.monotonic()
            self.assertEqual(200, self.tls_server.http("GET", "/healthz", timeout=5)[0])
            slowest = max(slowest, time.monotonic() - begun)
            time.sleep(0.05)
        thread.join()
        worst = self.worst_start_s(since)
        lab.say(f"worst start {worst * 1000:.0f} ms late, slowest answer at the socket {slowest * 1000:.0f} ms, "
                f"longest gap {1000 * self.tls_server.metric('cronsched_loop_gap_seconds'):.0f} ms")
        self.assertLess(worst, lab.scaled(LATE_S))

    def test_a_part_of_a_hello(self):
        hello = client_hello()

        def hold(until):
            held = []
            for n in [*range(1, 12), *range(12, len(hello), 40)]:
                held.append(self.connect())
                held[-1].sendall(hello[:n])
            time.sleep(max(0, until - time.monotonic()))
            for s in held:
                s.close()
        self.while_jobs_fire(hold, 4)

    def test_floods_of_hellos(self):
        hello = client_hello()

        def one(kind):
            with self.connect() as s:
                if kind == 0:
                    s.sendall(hello)
                elif kind == 1:
                    s.sendall(hello[:-1])
                elif kind == 2:
                    s.sendall(hello[:5] + os.urandom(len(hello) - 5))
                else:
                    with self.trust.wrap_socket(s, server_hostname="127.0.0.1"):
                        pass

        def flood(until):
            begun, n = time.monotonic(), 0
            while time.monotonic() < until:
                if n < (time.monotonic() - begun) * HELLOS_A_SECOND:
                    try:
                        one(n % 4)
                    except OSError:
                        pass
                    n += 1
                else:
                    time.sleep(0.002)
            lab.say(f"{n / (time.monotonic() - begun):.0f} hellos a second")
        self.while_jobs_fire(flood, 5)
        self.assertTrue(self.healthy())

    def test_connections_that_are_held(self):
        hello = client_hello()

        def hold(until):
            held = []
            for n in range(HELD):
                try:
                    held.append(self.connect())
                    if n % 3 == 0:
                        held[-1].sendall(hello)
                except OSError:
                    pass
                if n % 200 == 100:
                    self.assertTrue(self.healthy())
            while time.monotonic() < until:
                self.assertTrue(self.healthy())
                time.sleep(0.5)
            for s in held:
                s.close()
        self.while_jobs_fire(hold, 4)
        self.assertGreater(self.tls_server.metric("cronsched_http_connections_dropped_total"), HELD / 3)


if __name__ == "__main__":
    lab.main()
