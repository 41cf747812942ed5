"""A relay in front of an engine's socket, for faults on the wire.

A rule strikes once, when a request of its kind has been forwarded in full: the engine has it, whatever becomes of its
answer. Then `action` is called (a test kills the server there), and with `drop` the answer is thrown away and the
connection closed, as when a link breaks. With `cut` the connection is closed instead of forwarding it, and with `fail`
it is answered by an error of the engine's kind. `refuse` closes every connection at once, as an engine that is away.
"""

import os
import re
import socket
import threading

KINDS = {
    "container": r"^\S+ \S*/containers/(?!json)",  # about one: the list is of all, and asked for at any time
    "create": r"^POST \S*/containers/create",
    "start": r"^POST \S*/containers/[^/ ]+/start",
    "stop": r"^POST \S*/containers/[^/ ]+/(stop|kill)",
    "archive": r"^PUT \S*/containers/[^/ ]+/archive",
    "delete": r"^DELETE \S*/containers/",
    "inspect": r"^GET \S*/containers/[^/ ]+/json",
    "wait": r"^POST \S*/containers/[^/ ]+/wait",
}


FAILURE = b'{"message":"the proxy says no"}\n'
FAILURE_HEAD = (b"HTTP/1.1 500 Internal Server Error\r\nContent-Type: application/json\r\nConnection: close\r\n"
                b"Content-Length: %d\r\n\r\n" % len(FAILURE))


class Rule:
    def __init__(self, kind, action=None, manner=None, nth=1):
        self.pattern, self.action, self.manner, self.left = re.compile(KINDS[kind]), action, manner, nth
        self.struck = threading.Event()
        self.line = None


class Proxy:
    def __init__(self, path, target):
        self.path, self.target, self.refuse = path, target, False
        self.rules, self.lock, self.seen = [], threading.Lock(), []
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.listener.bind(path)
        self.listener.listen(64)
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def endpoint(self):
        return f"unix://{self.path}"

    def strike(self, kind, action=None, drop=False):
        return self.strike_nth(kind, 1, "drop" if drop else None, action)

    def strike_nth(self, kind, nth, manner, action=None):
        """The nth of its kind from now on."""
        rule = Rule(kind, action, manner, nth)
        with self.lock:
            self.rules.append(rule)
        return rule

    def spare(self, rule):
        """The rule counts no more, if it has not struck."""
        with self.lock:
            if rule in self.rules:
                self.rules.remove(rule)

    def count(self, kind):
        """How many requests of that kind were forwarded."""
        with self.lock:
            return sum(1 for line in self.seen if re.match(KINDS[kind], line))

    def close(self):
        self.listener.close()
        if os.path.exists(self.path):
            os.unlink(self.path)

    def _accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            if self.refuse:
                client.close()
                continue
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client):
        engine = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        dropped = threading.Event()
        try:
            engine.connect(self.target)
        except OSError:
            client.close()
            return
        threading.Thread(target=self._answers, args=(engine, client, dropped), daemon=True).start()
        try:
            self._requests(client, engine, dropped)
        except OSError:
            pass
        finally:
            for s in (engine, client):
                try:
                    s.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass
                s.close()

    def _requests(self, client, engine, dropped):
        data = b""
        while True:
            while b"\r\n\r\n" not in data:
                more = client.recv(65536)
                if not more:
                    return
                data += more
            head, _, data = data.partition(b"\r\n\r\n")
            length = re.search(rb"(?i)^content-length: *(\d+)", head, re.M)
            left = int(length.group(1)) if length else 0
            while len(data) < left:
                more = client.recv(65536)
                if not more:
                    return
                data += more
            line = head.split(b"\r\n")[0].decode(errors="replace")
            rule = self._match(line)
            if rule and rule.manner == "drop":
                dropped.set()
            if rule and rule.manner in ("cut", "fail"):
                if rule.manner == "fail":
                    client.sendall(FAILURE_HEAD + FAILURE)
                rule.struck.set()
                return
            engine.sendall(head + b"\r\n\r\n" + data[:left])
            data = data[left:]
            if rule:
                if rule.action:
                    rule.action()
                rule.struck.set()

    def _match(self, line):
        with self.lock:
            self.seen.append(line)
            for rule in self.rules:
                if rule.pattern.match(line):
                    rule.left -= 1
                    if rule.left == 0:
                        self.rules.remove(rule)
                        rule.line = line
                        return rule
        return None

    @staticmethod
    def _answers(engine, client, dropped):
        try:
            while True:
                data = engine.recv(65536)
                if not data or dropped.is_set():
                    break
                client.sendall(data)
        except OSError:
            pass
        for s in (engine, client):
            try:
                s.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
