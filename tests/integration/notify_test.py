#!/usr/bin/python3
"""Notifications: a job's `notify` posts the run to a real receiver, at least once, whatever befalls the receiver, the
server, or other notifications.
"""

import hashlib
import hmac
import http.server
import json
import os
import socket
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lab"))
import lab  # noqa: E402

KEPT_MAX = 1000  # notifications that wait for their delivery (STATE_NOTICES_MAX)
PER_JOB_MAX = 16


class Receiver:
    """Answers with the statuses of the list, one after the other, and 204 beyond; 0 closes the connection. Its port is the
    same again after stop() and start()."""

    def __init__(self, statuses=()):
        self.statuses, self.posts, self.lock, self.server = list(statuses), [], threading.Lock(), None
        self.requests = []  # (headers, body) of each
        self.port = 0
        self.start()

    def start(self):
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                with outer.lock:
                    outer.requests.append((self.headers, body))
                    outer.posts.append((self.path, self.headers["Content-Type"], json.loads(body)))
                    status = outer.statuses.pop(0) if outer.statuses else 204
                if status:
                    self.send_response(status)
                    self.end_headers()

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        self.port = self.server.server_port
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def stop(self):
        if self.server:
            self.server.shutdown()
            self.server.server_close()
            self.server = None

    def url(self, path=""):
        return f"http://127.0.0.1:{self.port}/{path}"

    def runs(self):
        with self.lock:
            return [body["run"] for _, _, body in self.posts]


class Silent:
    """Takes connections and says nothing."""

    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}/"

    def close(self):
        self.listener.close()


class Notifications(lab.Suite):
    side_by_side = 3

    def receiver(self, *statuses):
        receiver = Receiver(statuses)
        self.addCleanup(receiver.stop)
        return receiver

    def job(self, script, urls, on=("failed",), **keys):
        return {"engine": "process", "command": ["sh", "-c", script], "notify": [{"on": list(on), "url": u} for u in urls],
                **keys}

    def begin(self, jobs, **config):
        server = self.server(config=config).start()
        server.apply(jobs)
        return server

    def end(self, server, job, *options):
        return server.cli.wait_end(server.cli.trigger(job, *options))["run"]

    def waits(self, server):
        """How many are not delivered yet."""
        return server.metric("cronsched_notifications_waiting")

    def test_the_run_is_posted_when_its_verdict_is_asked_for(self):
        receiver = self.receiver()
        server = self.begin({"bad": self.job("exit 3", [receiver.url("hook")], owner="data@acme.example"),
                             "good": self.job("true", [receiver.url()])})
        self.end(server, "good")
        run = self.end(server, "bad")
        lab.wait_for(lambda: receiver.posts, 20, "the post")
        lab.quiet_for(2.5)  # no more comes
        self.assertEqual([("/hook", "application/json")], [p[:2] for p in receiver.posts])
        body = receiver.posts[0][2]
        self.assertEqual((run, "bad", "failed", 3), (body["run"], body["job"], body["verdict"], body["exit_code"]))
        self.assertEqual(0, self.waits(server))
        server.stop()

    def test_it_is_posted_again_until_it_is_taken(self):
        receiver = self.receiver(500, 0, 302)
        server = self.begin({"j": self.job("exit 1", [receiver.url()])})
        run = self.end(server, "j")
        lab.wait_for(lambda: len(receiver.posts) >= 4 and self.waits(server) == 0, 60, lambda: receiver.posts)
        self.assertEqual([run] * 4, receiver.runs())
        self.assertEqual(3, server.log().count('"event":"notification-failed"'))
        server.stop()

    def test_secrets_of_files_reach_the_receiver_and_nothing_else(self):
        receiver, folder = self.receiver(), self.place_of("secrets")
        secret, key = "Bearer hunter2-in-a-header", "hunter2-that-signs"
        token = folder.write("token", f"{secret}\n\n")  # a second line could be a second header
        headers = {"Authorization": {"from_file": token}, "X-Team": "data"}
        notify = {"on": ["failed"], "url": receiver.url(), "headers": headers,
                  "sign": {"from_file": folder.write("key", f"{key}\n")}}
        jobs = {"j": {**self.job("exit 1", []), "notify": [notify]}}
        server = self.begin(jobs, files_dir=folder.path)
        run = self.end(server, "j")
        lab.wait_for(lambda: "the header Authorization, from" in server.log(), 20, "a failure that names the header")
        folder.write("token", f"{secret}\n")
        lab.wait_for(lambda: receiver.runs() == [run] and self.waits(server) == 0, 30, receiver.runs)
        got, body = receiver.requests[0]
        self.assertEqual((secret, "data"), (got["Authorization"], got["X-Team"]))
        at, code = got["Cronsched-Signature"].split(",")
        wanted = hmac.new(key.encode(), at.removeprefix("t=").encode() + b"." + body, hashlib.sha256).hexdigest()
        self.assertEqual("v1=" + wanted, code)
        self.assertLess(abs(time.time() - int(at.removeprefix("t="))), 60)
        told = [server.cli.call(*words, "-o", "json").out for words in
                (("explain", "--run", run), ("run", run), ("jobs",), ("show", "j"),
                 ("plan", folder.write("j.yaml", json.dumps({"jobs": jobs}))))]
        server.stop()
        for text in [*told, server.log(), *self.contents(server.data)]:
            self.assertNotIn("hunter2", text)

    def test_files_elsewhere_are_not_read_for_a_receiver(self):
        inside, outside = self.place_of("inside"), self.place_of("outside")
        secret = outside.write("secret", "hunter2\n")
        os.symlink(secret, inside.join("link"))
        receiver = self.receiver()
        server = self.begin({}, files_dir=inside.path)

        def job(path):
            return {"j": {**self.job("exit 1", []), "notify": [{"on": ["failed"], "url": receiver.url(),
                                                                "sign": {"from_file": path}}]}}

        answer = server.cli.call("apply", outside.write("j.yaml", json.dumps({"jobs": job(secret)})))
        self.assertIn("is not below", answer.err)
        server.apply(job(inside.join("link")))
        self.end(server, "j")
        lab.wait_for(lambda: '"event":"notification-failed"' in server.log(), 20, "a failure")
        self.assertEqual([], receiver.posts)
        server.stop()

    def place_of(self, name):
        folder = lab.Folder(name)
        self.addCleanup(folder.close)
        return folder

    def contents(self, folder):
        for at, _, names in os.walk(folder):
            for name in names:
                if os.path.isfile(os.path.join(at, name)):
                    with open(os.path.join(at, name), errors="replace") as f:
                        yield f.read()

    def test_it_outlives_the_server(self):
        receiver = self.receiver()
        receiver.stop()
        server = self.begin({"j": self.job("exit 1", [receiver.url()])})
        run = self.end(server, "j")
        server.kill()
        receiver.start()
        server.start()
        lab.wait_for(lambda: receiver.runs() == [run], 20, receiver.runs)
        lab.wait_for(lambda: server.cli.json("records", "--kinds", "notified"), 20, "that it was delivered")  # else once more
        server.kill()
        server.start()
        lab.quiet_for(2.5)
        self.assertEqual([run], receiver.runs())
        server.stop()

    def test_a_receiver_that_says_nothing_holds_nobody_up(self):
        silent = Silent()
        self.addCleanup(silent.close)
        receiver = self.receiver()
        server = self.begin({"silent": self.job("exit 1", [silent.url] * 3), "j": self.job("exit 1", [receiver.url()])})
        self.end(server, "silent")
        run = self.end(server, "j")
        lab.wait_for(lambda: receiver.runs() == [run], 8, receiver.runs)
        server.stop()

    def test_those_that_nobody_takes_do_not_stand_in_the_way_for_ever(self):
        receiver = self.receiver()
        dead = Receiver()
        dead.stop()
        server = self.begin({"dead": self.job("exit 1", [dead.url(str(i)) for i in range(PER_JOB_MAX)]),
                             "j": self.job("exit 1", [receiver.url()])})
        for _ in range(KEPT_MAX // PER_JOB_MAX + 6):
            self.end(server, "dead")
        lab.wait_for(lambda: self.waits(server) == KEPT_MAX, 20, lambda: self.waits(server))
        self.assertGreater(server.metric("cronsched_notifications_dropped_total"), 0)
        run = self.end(server, "j")
        lab.wait_for(lambda: receiver.runs() == [run], 60, receiver.runs)
        server.stop()


if __name__ == "__main__":
    lab.main()
