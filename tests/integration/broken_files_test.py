#!/usr/bin/python3
"""Broken job files through the command line: each fault with its place, no crash, and nothing half applied."""

import json
import os
import re
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lab"))
import lab  # noqa: E402

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SAMPLES = os.path.join(TOP, "tests", "data", "broken")


def job(line):
    """A job file of which the fourth line is this one."""
    return f"jobs:\n  a:\n    command: [\"true\"]\n    {line}\n"


# name: (text, line of the fault or 0 for the file as a whole, what the message has to mention)
BROKEN = {
    "unknown key": (job("scedule: '@daily'"), 4, "schedule"),
    "unknown key at the top": ("jbos:\n  a: {}\n", 1, "jobs"),
    "unknown policy": (job("concurrency: forbit"), 4, "forbid"),
    "minute out of range": (job('schedule: "61 * * * *"'), 4, "minute"),
    "hour out of range": (job('schedule: "0 24 * * *"'), 4, "hour"),
    "backward range": (job('schedule: "5-1 * * * *"'), 4, "5-1"),
    "empty list item": (job('schedule: "1,,2 * * * *"'), 4, ""),
    "too few fields": (job('schedule: "* * *"'), 4, "field"),
    "unquoted stars": (job("schedule: * * * * *"), 4, "quote"),
    "unknown zone": (job("timezone: Europe/Pariss"), 4, "Europe/Paris"),
    "unknown nickname": (job('schedule: "@dayly"'), 4, "@daily"),
    "bad date": (job('schedule: "@at 2026-02-30T00:00:00"'), 4, ""),
    "bad interval": (job('schedule: "@every 0s"'), 4, ""),
    "bad exclusion": (job('except: ["2026-13-01"]'), 4, ""),
    "number for text": (job("image: 7"), 4, "image"),
    "list for text": (job("user: [a, b]"), 4, "user"),
    "map for list": (job("volumes: {a: b}"), 4, "volumes"),
    "text for number": (job("priority: high"), 4, "priority"),
    "priority out of range": (job("priority: 101"), 4, "100"),
    "negative retries": (job("retries: {max: -1}"), 4, "max"),
    "unknown retry key": (job("retries: {maxx: 1}"), 4, "max"),
    "bad duration": (job("timeout: 5 parsecs"), 4, "timeout"),
    "bad size": (job("resources: {memory: many}"), 4, "memory"),
    "negative processors": (job("resources: {cpus: -1}"), 4, "cpus"),
    "bad volume": (job('volumes: ["nowhere"]'), 4, "nowhere"),
    "bad name": ("jobs:\n  Bad_Name:\n    command: [x]\n", 2, "Bad_Name"),
    "name too long": (f"jobs:\n  {'a' * 101}:\n    command: [x]\n", 2, "100"),
    "duplicate key": (job('command: ["false"]'), 4, "command"),
    "duplicate job": ("jobs:\n  a:\n    command: [x]\n  a:\n    command: [y]\n", 4, "a"),
    "job is no map": ("jobs:\n  a: 5\n", 2, ""),
    "jobs is a list": ("jobs:\n  - a\n", 2, ""),
    "unknown parent": (job("after: [b]"), 4, "b"),
    "itself as parent": (job("after: [a]"), 4, "a"),
    "circle of parents": ("jobs:\n  a:\n    command: [x]\n    after: [b]\n  b:\n    command: [x]\n    after: [a]\n",
                          0, "a"),
    "after with schedule": (job("after: [b]\n    schedule: '@daily'"), 0, "after"),
    "bad environment name": (job('environment: {"1=2": x}'), 4, ""),
    "two sources of a value": (job("environment: {A: {from_file: /x, from_secret: y}}"), 4, "A"),
    "bad exit code": (job("retries: {max: 1, on_exit: [999]}"), 4, "999"),
    "bad notification": (job("notify: [{on: [finished], url: 'https://x/'}]"), 4, "finished"),
    "tab as indent": ("jobs:\n\ta: {}\n", 2, ""),
    "open bracket": (job("volumes: [a"), 0, ""),
    "open quote": (job('image: "x'), 0, ""),
    "unknown anchor": (job("image: *nowhere"), 4, "nowhere"),
    "two documents": ("jobs: {}\n---\njobs: {}\n", 0, ""),
    "not UTF-8": (b"jobs:\n  a:\n    command: [\"true\"]\n    description: \"\xff\xfe\"\n", 4, "UTF-8"),
    "control character": (b"jobs:\n  a:\n    image: \"x\x01y\"\n", 3, ""),
    "a NUL byte": (b"jobs:\n  a:\n    image: x\x00y\n", 3, ""),
    "deep nesting": ("[" * 5000, 1, ""),
    "alias bomb": ("a: &a [x,x,x,x,x,x,x,x,x,x]\n" + "".join(
        f"{chr(98 + i)}: &{chr(98 + i)} [{','.join(['*' + chr(97 + i)] * 10)}]\n" for i in range(9)) + "jobs: *j\n", 0, ""),
    "ten megabytes": (("# " + "x" * 98 + "\n") * 105_000, 0, ""),
    "huge number": (job("priority: 99999999999999999999999999"), 4, "priority"),
    "text instead of a file": ("hello\n", 1, ""),
    "a picture": (b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR", 0, ""),
}


class BrokenFiles(lab.Suite):
    @classmethod
    def setUpClass(cls):
        cls.place = lab.Folder("broken")
        cls.one_server = lab.Server(cls.place)
        cls.one_server.start()
        cls.one_server.apply({"kept": {"command": ["true"], "schedule": "@daily"}})
        cls.before = cls.definitions()

    @classmethod
    def definitions(cls):
        """What is applied, without what happens all the while."""
        return [(j["job"], j["schedule"], cls.one_server.cli.json("show", j["job"])["def"])
                for j in cls.one_server.cli.json("jobs")]

    @classmethod
    def tearDownClass(cls):
        try:
            cls.one_server.stop()
        finally:
            cls.one_server.close()
            cls.place.close()

    def check_refused(self, path, line, word):
        cli = self.one_server.cli
        answer = cli.call("validate", path)
        self.assertEqual(1, answer.code, answer)
        said = answer.err + answer.out
        errors = re.findall(rf"^{re.escape(path)}:(\d+):(\d+): error: (.+)$", said, re.M)
        whole = re.findall(rf"^{re.escape(path)}: (?:error: )?(.+)$", said, re.M)
        self.assertTrue(errors or (line == 0 and whole), said[:2000])
        if line:
            self.assertIn(line, [int(e[0]) for e in errors], said[:2000])
        self.assertIn(word.lower(), said.lower())
        self.assertLess(len(said), 100_000)
        # beside a good file, and with jobs that are fine in themselves: nothing of it is applied
        folder = self.folder.make("set")
        os.symlink(path, os.path.join(folder, "b.yaml"))
        with open(os.path.join(folder, "a.yaml"), "w") as f:
            f.write('jobs: {good: {command: ["true"]}}\n')
        answer = cli.call("apply", "--follow-links", folder)
        self.assertNotIn(answer.code, (0, 64), answer)
        self.assertEqual(self.before, self.definitions())

    def test_an_unreadable_file_and_a_missing_one(self):
        missing = self.folder.join("missing.yaml")
        answer = self.one_server.cli.call("validate", missing)
        self.assertEqual(1, answer.code)
        self.assertIn(missing, answer.err + answer.out)
        answer = self.one_server.cli.call("apply", self.folder.make("folder.yaml"))
        self.assertNotEqual(0, self.one_server.cli.call("apply", missing).code, answer)

    def test_all_faults_of_all_files_are_told_in_one_go(self):
        folder = self.folder.make("many")
        for name in ("b", "a", "sub/c"):
            self.folder.write(f"many/{name}.yaml", job("priority: high\n    timeout: never").replace("a:", f"{name[-1]}:"))
        answer = self.one_server.cli.call("validate", folder)
        found = re.findall(r"many/(\S+?):(\d+):\d+: error:", answer.err + answer.out)
        self.assertEqual([("a.yaml", "4"), ("a.yaml", "5"), ("b.yaml", "4"), ("b.yaml", "5"), ("sub/c.yaml", "4"),
                          ("sub/c.yaml", "5")], found, answer)

    def test_what_an_engine_cannot_do_is_refused_at_apply(self):
        path = self.folder.write("c.yaml", json.dumps({"jobs": {
            "fine": {"command": ["true"]}, "c": {"command": ["true"], "constraints": ["node.labels.disk==ssd"]}}}))
        answer = self.one_server.cli.call("apply", path)
        self.assertNotIn(answer.code, (0, 64), answer)
        self.assertIn("constraints", answer.err)
        self.assertEqual(self.before, self.definitions())

    def test_broken_requests_over_http(self):
        for body in (b"", b"{", b"[]", b"null", b'{"jobs": 5}', b'{"jobs": {"a": {"command": 5}}}', b"\xff\xfe",
                     b"[" * 100000, b'{"jobs":{},"jobs":{}}', b'{"jobs": {"a": {"nonsense": 1}}}'):
            for method, path in (("POST", "/v1/apply"), ("POST", "/v1/jobs/kept/trigger"), ("PUT", "/v1/jobs/kept")):
                if body == b"" and path.endswith("trigger"):
                    continue  # is one without parameters
                status, _ = self.one_server.http(method, path, body)
                self.assertTrue(400 <= status < 500, (method, path, body[:20], status))
        for path in ("/v1/jobs/%00", "/v1/jobs/" + "a" * 3000, "/v1/../../etc/passwd", "/nothing", "/v1/runs?limit=x"):
            status, _ = self.one_server.http("GET", path)
            self.assertTrue(400 <= status < 500, (path, status))
        self.assertTrue(self.one_server.ready())
        self.assertEqual({"kept"}, {j["job"] for j in self.one_server.cli.json("jobs")})


def add(name, text, line, word):
    def test(self):
        self.check_refused(self.folder.write("broken.yaml", text), line, word)
    setattr(BrokenFiles, "test_" + re.sub(r"\W+", "_", name), test)


def add_sample(path):
    def test(self):
        answer = self.one_server.cli.call("validate", path)
        self.assertEqual(1, answer.code, answer)
        self.assertIn(f"{path}:", answer.err + answer.out)
        self.assertIn("error: ", answer.err + answer.out)
        self.assertNotIn(self.one_server.cli.call("apply", path).code, (0, 64))
        self.assertEqual(self.before, self.definitions())
    setattr(BrokenFiles, "test_sample_" + re.sub(r"\W+", "_", os.path.basename(path)), test)


for _name, _broken in BROKEN.items():
    add(_name, *_broken)
for _file in sorted(os.listdir(SAMPLES)) if os.path.isdir(SAMPLES) else ():
    if _file.endswith((".yaml", ".yml")):
        add_sample(os.path.join(SAMPLES, _file))

if __name__ == "__main__":
    lab.main()
