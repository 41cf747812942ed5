#!/usr/bin/python3
"""Engines as programs: the reference plug-in keeps the contract and does its work, also when it is killed; programs that misbehave
harm themselves alone."""

import json
import os
import re
import signal
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lab"))
import lab  # noqa: E402
from zookeeper import free_ports  # noqa: E402

REFERENCE = os.path.join(lab.TOP, "contrib", "plugins", "process.py")
HELLO = '{"hello":1,"type":"t","version":"1","guarantee":"at-most-once"}'
# name: what the program does after its start, in sh, and what is said of it
HOSTILE = {
    "banner": ("echo Welcome to the scheduler; sleep 99", "what is no message: 'Welcome to the scheduler'"),
    "half": ("printf '{\"hello\":'; exit 3", "ended with exit code 3"),
    "flood": ("yes | tr -d '\\n'", "a line of more than 1048576 bytes"),
    "version": ("echo '{\"hello\":2}'; sleep 99", "another version of the protocol"),
    "promise": ("echo '{\"hello\":1}'; sleep 99", "has no guarantee"),
    "twice": (f"echo '{HELLO}'; echo '{HELLO}'; sleep 99", "says hello twice"),
    "rude": ("echo '{\"ticket\":1,\"event\":\"ended\"}'; sleep 99", "did not say hello first"),
    "answer": (f"echo '{HELLO}'; echo '{{\"ticket\":1,\"event\":\"flown\"}}'; sleep 99", "unknown event"),
    "signal": ("kill -9 $$", "ended by signal 9"),
}
MANY = f"""echo '{HELLO}'; for i in 1 2 3 4 5; do echo '{{"ticket":99,"event":"started"}}'; done; sleep 999 & exec cat > /dev/null"""


def shell(text):
    return {"type": "plugin", "command": ["/bin/sh", "-c", text]}


def resident_kb(server):
    with open(f"/proc/{server.process.pid}/status", encoding="ascii") as f:
        return int(re.search(r"VmRSS:\s+(\d+)", f.read()).group(1))


class Plugins(lab.Suite):
    side_by_side = 3

    def reference(self):
        return {"type": "plugin", "command": [REFERENCE, self.folder.join("attempts")]}

    def processes(self, word):
        """Those that have this word in their command line."""
        found = []
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open(f"/proc/{pid}/cmdline", "rb") as f:
                    words = f.read().split(b"\0")
            except OSError:
                continue
            if word.encode() in words:
                found.append(int(pid))
        return found

    def test_the_reference_keeps_the_contract(self):
        server = self.server(engines={"mine": self.reference()})
        done = subprocess.run(["nice", server.program, "drill", "engine", "mine", "--config", server.write_config(), "--trials",
                               os.environ.get("CRONSCHED_TRIALS", "1")], capture_output=True, text=True, timeout=1200,
                              check=False)
        print("".join(f"## {line}\n" for line in done.stdout.splitlines()), end="", flush=True)
        self.assertEqual(0, done.returncode, done.stdout + done.stderr)
        self.assertNotIn("FAILED", done.stdout)
        self.assertNone(name for name in os.listdir(self.folder.join("attempts")) if ".new." not in name)

    def nomad(self, version):
        """A scripted one, and the plug-in for it."""
        port = free_ports(1)[0]
        service = lab.Service(self.folder.make("nomad"), "nomad")
        service.spawn([sys.executable, os.path.join(lab.TOP, "tests", "lab", "nomad.py"), service.path, str(port),
                       version])
        self.addCleanup(service.kill)
        lab.wait_for(lambda: "ready" in service.log(), 20, service.log_tail)
        return {"type": "plugin", "command": [os.path.join(lab.TOP, "contrib", "plugins", "nomad.py"), f"http://127.0.0.1:{port}"]}

    def test_the_one_for_nomad_keeps_the_contract_on_a_scripted_server(self):
        server = self.server(engines={"nomad": self.nomad("2.0.6")})
        done = subprocess.run(["nice", server.program, "drill", "engine", "nomad", "--config", server.write_config(), "--trials",
                               os.environ.get("CRONSCHED_TRIALS", "1")], capture_output=True, text=True, timeout=1200,
                              check=False)
        print("".join(f"## {line}\n" for line in done.stdout.splitlines()), end="", flush=True)
        self.assertEqual(0, done.returncode, done.stdout + done.stderr)

    def test_an_older_nomad_may_start_twice(self):
        server = self.server(engines={"nomad": self.nomad("1.9.3")})
        server.start()
        lab.wait_for(lambda: "nomad 1.9.3" in server.cli.call("doctor").out, 20, "its hello")
        server.apply({"j": {"command": ["sh", "-c", "echo ${A} $A; exit 5"], "environment": {"A": "${x} 1"}, "on_lost": "rerun"}})
        run = server.cli.trigger("j")
        self.assertEqual(5, server.cli.wait_end(run)["exit_code"])
        self.assertEqual("${x} 1 ${x} 1\n", server.cli.check("logs", run).out)
        self.assertIn("may be started twice", re.sub(r"\s+", " ", server.cli.call("doctor").out))

    def test_an_engine_whose_fence_does_not_hold_fails_its_drill(self):
        with open(REFERENCE) as f:
            text = f.read()
        broken = text.replace('return read(self.at("decision")), False', "return text, True")
        self.assertNotEqual(text, broken)
        program = self.folder.write("broken.py", broken)
        os.chmod(program, 0o755)
        server = self.server(engines={"mine": {"type": "plugin", "command": [program, self.folder.join("attempts")]}})
        done = subprocess.run(["nice", server.program, "drill", "engine", "mine", "--config", server.write_config(), "--trials", "1"],
                              capture_output=True, text=True, timeout=1200, check=False)
        self.assertEqual(1, done.returncode, done.stdout + done.stderr)
        self.assertRegex(done.stdout, r"FAILED +release held until after the take-over")

    def test_runs_are_what_the_job_says_also_when_the_plugin_is_killed(self):
        server = self.server(engines={"mine": self.reference()})
        server.start()
        text = "echo first $A; until [ -e %s ]; do sleep 0.05; done; echo last; exit 4" % self.folder.join("go")
        server.apply({"j": {"command": ["sh", "-c", text], "environment": {"A": 'a "b" \u00e9'}},
                      "gone": {"command": ["/no/such"]},
                      "long": {"command": ["sh", "-c", "trap 'exit 6' TERM; while :; do sleep 0.05; done"], "stop_grace": "5s"}})
        run, long, gone = (server.cli.trigger(job) for job in ("j", "long", "gone"))
        self.assertEqual(127, server.cli.wait_end(gone)["exit_code"])
        for r in (run, long):
            lab.wait_for(lambda r=r: server.cli.run(r)["state"] == "running", 30, "the start")
        lab.wait_for(lambda: "first" in server.cli.check("logs", run).out, 30, "its output")
        for pid in self.processes(self.folder.join("attempts")):
            with open(f"/proc/{pid}/stat") as f:
                if f.read().rpartition(")")[2].split()[1] == str(server.process.pid):  # not those that hold attempts
                    os.kill(pid, signal.SIGKILL)
        lab.wait_for(lambda: "ended by signal 9" in server.log(), 20, "the loss to be noticed")
        self.folder.write("go", "")
        found = server.cli.wait_end(run)
        self.assertEqual(("failed", 4, 1), (found["verdict"], found["exit_code"], len(found["attempts"])), found)
        self.assertEqual('first a "b" \u00e9\nlast\n', server.cli.check("logs", run).out)
        server.cli.check("kill", long)
        self.assertEqual(("killed", 6), tuple(server.cli.wait_end(long)[k] for k in ("verdict", "exit_code")))

    def test_programs_that_misbehave_harm_themselves_alone(self):
        engines = {name: shell(text) for name, (text, _) in HOSTILE.items()}
        server = self.server(engines={"process": {}, "many": shell(MANY), "absent": {"type": "plugin", "command": ["/no/such"]},
                                      **engines}, default_engine="process")
        server.start()
        before_kb = resident_kb(server)
        server.apply({"fine": {"command": ["true"]}, "bad": {"command": ["true"], "engine": "banner", "start_within": "3s"}})
        bad = server.cli.trigger("bad")
        for _ in range(3):
            self.assertEqual("succeeded", server.cli.wait_end(server.cli.trigger("fine"))["verdict"])

        def said():
            return re.sub(r"\s+", " ", server.cli.call("doctor").out)
        for name, (_, text) in {**HOSTILE, "absent": ("", "cannot be started")}.items():
            lab.wait_for(lambda n=name, t=text: re.search(f"error engine {n}: plugin: [^|]*?{re.escape(t)}", said()), 30,
                         lambda n=name: f"what is said of {n}: {said()}")
        self.assertRegex(said(), "ok engine many: plugin: t 1")
        self.assertEqual("deadline", server.cli.wait_end(bad)["verdict"])
        self.assertLess(resident_kb(server) - before_kb, 250000)  # a sanitizer keeps what was freed; the flood has no end
        server.stop()
        lab.wait_for(lambda: not self.processes("999"), 20, "what a program left in its session to go")

    def test_what_may_start_twice_takes_only_jobs_that_may(self):
        program = self.folder.write("weak.py", "import json, sys\nprint(json.dumps(dict(hello=1, type='weak', version='1', "
                                    "guarantee='at-least-once')), flush=True)\nfor line in sys.stdin: pass\n")
        server = self.server(engines={"weak": {"type": "plugin", "command": [sys.executable, program]}})
        server.start()
        lab.wait_for(lambda: "weak 1" in server.cli.call("doctor").out, 20, "its hello")
        self.assertIn("may be started twice", re.sub(r"\s+", " ", server.cli.call("doctor").out))
        jobs = self.folder.write("jobs.json", json.dumps({"jobs": {"j": {"command": ["true"]}}}))
        self.assertIn("needs 'on_lost: rerun'", server.cli.call("apply", jobs).err)
        server.apply({"j": {"command": ["true"], "on_lost": "rerun"}})


if __name__ == "__main__":
    lab.main()
