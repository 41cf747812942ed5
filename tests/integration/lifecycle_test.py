#!/usr/bin/python3
"""The process `serve` itself: a second one on the same data, a clean stop, a full disk, clocks that step, broken or
missing surroundings."""

import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lab"))
import lab  # noqa: E402
from faked_clock import FakedClock, why_no_faked_clock  # noqa: E402

EVERY_SECOND = "* * * * * *"


class Lifecycle(lab.Suite):
    side_by_side = 2

    def setUp(self):
        super().setUp()
        self.ledger = lab.Ledger(self.folder)

    def test_what_it_writes_is_its_own(self):
        server = self.server().start()
        server.apply({"j": self.ledger.process_job()})
        server.cli.wait_end(server.cli.trigger("j"))
        server.stop()
        open_ones = [os.path.join(at, name) for at, _, names in os.walk(server.data) for name in names
                     if os.stat(os.path.join(at, name)).st_mode & 0o077]
        self.assertEqual([], open_ones)
        os.chmod(server.data, 0o777)
        checked = self.check(server)
        self.assertEqual((2, ""), (checked.returncode, checked.stdout))
        self.assertIn("others can write", checked.stderr)
        with self.assertRaisesRegex(lab.LabError, "others can write"):
            server.start()
        os.chmod(server.data, 0o750)
        self.assertEqual((0, ""), (self.check(server).returncode, self.check(server).stderr))
        server.config["tokens_file"] = self.folder.join("none")
        self.assertIn("tokens_file ", self.check(server).stderr)

    @staticmethod
    def check(server):
        return subprocess.run([server.program, "serve", "--check", "--config", server.write_config()],
                              capture_output=True, text=True, timeout=lab.scaled(30), check=False)

    def test_a_second_process_on_the_same_data_is_refused_by_name(self):
        server = self.server()
        server.start()
        second = self.server(name="second", data=server.data)
        second.config["listen"] = [f"unix:{self.folder.join('second.sock')}"]
        second.launch()
        lab.wait_for(lambda: not second.running(), 30, "the second process to give up")
        self.assertNotEqual(0, second.process.returncode)
        self.assertIn(str(server.process.pid), second.log() + "", second.log())
        self.assertTrue(server.ready())
        server.stop()

    def test_jobs_of_an_engine_that_is_no_longer_configured_are_told(self):
        server = self.server(engines={"process": {"type": "process"}, "none": {"type": "null"}}).start()
        server.apply({"j": {"command": ["true"], "engine": "process", "schedule": "@every 1h"}})
        self.assertNotIn("their engine is not", server.cli.call("doctor").out)
        server.stop()
        del server.config["engines"]["process"]
        server.config["default_engine"] = "none"
        server.start()
        answer = server.cli.call("doctor")
        self.assertNotEqual(0, answer.code, answer)
        self.assertIn("1 jobs do not start: their engine is not in the configuration ('process')", answer.out)
        server.stop()

    def test_a_service_manager_is_told(self):
        for address in (self.folder.join("notify.sock"), f"\0cronsched-notify-{os.getpid()}"):
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
                manager.bind(address)
                manager.settimeout(lab.scaled(30))
                server = self.server(environment={"NOTIFY_SOCKET": address.replace("\0", "@"), "WATCHDOG_USEC": "400000"})
                server.start()
                self.assertEqual(b"READY=1", manager.recv(100))
                self.assertEqual([b"WATCHDOG=1"] * 3, [manager.recv(100) for _ in range(3)])
                server.process.send_signal(signal.SIGSTOP)
                manager.settimeout(1.5)
                with self.assertRaises(TimeoutError):  # what hangs is not said to live
                    for _ in range(3):
                        manager.recv(100)
                server.process.send_signal(signal.SIGCONT)
                manager.settimeout(lab.scaled(30))
                server.stop()
                said = []
                while not said or said[-1] != b"STOPPING=1":
                    said.append(manager.recv(100))

    def test_sigterm_leaves_attempts_running_and_the_next_start_adopts_them(self):
        server = self.server()
        server.start()
        server.apply({"j": self.ledger.process_job("sleep 5")})
        run = server.cli.trigger("j")
        lab.wait_for(lambda: self.ledger.starts(run), 20, "the start")
        began = time.monotonic()
        server.stop()
        took = time.monotonic() - began
        server.start()
        self.promised("SIGTERM with an attempt running", took, server, ceiling_s=5)
        self.assertEqual("succeeded", server.cli.wait_end(run)["verdict"])
        self.assertEqual(1, self.ledger.starts(run))
        server.stop()

    def test_an_attempt_that_ended_while_nobody_watched_has_its_exit_code(self):
        server = self.server()
        server.start()
        server.apply({"j": self.ledger.process_job("sleep 1; exit 7")})
        run = server.cli.trigger("j")
        lab.wait_for(lambda: self.ledger.starts(run), 20, "the start")
        server.kill()
        lab.wait_for(lambda: [x for x in self.ledger.lines() if x.what == "end"], 20, "the end")
        server.start()
        found = server.cli.wait_end(run)
        self.assertEqual(("failed", 7), (found["verdict"], found["exit_code"]))
        server.stop()

    def test_as_the_first_process_of_a_container_it_reaps_orphans(self):
        if os.geteuid() != 0:
            self.skipTest("needs root, for a namespace")
        server = self.server(wrapper=("unshare", "--pid", "--fork", "--kill-child", "--mount-proc"))
        server.start()
        up = self.folder.join("up")
        server.apply({"j": {"command": ["sh", "-c", f"(sh -c 'echo $$ > {up}; exec sleep 1000' &); "
                                        f"while [ ! -s {up} ]; do sleep 0.01; done; kill -9 $PPID; sleep 1000"]}})
        self.assertEqual("lost", server.cli.wait_end(server.cli.trigger("j"))["verdict"])
        first = lab.children(server.process.pid)[0]

        def zombies():
            return [pid for pid in lab.children(first) if not lab.alive(pid)]

        lab.wait_for(lambda: not zombies(), 10, lambda: f"{zombies()} to be reaped")
        os.kill(first, signal.SIGTERM)  # as docker stop does
        self.assertEqual(0, server.process.wait(lab.scaled(20)))
        self.assertIn("bye", server.log())

    def test_sigint_ends_it_too(self):
        server = self.server()
        server.start()
        server.process.send_signal(signal.SIGINT)
        self.assertEqual(0, server.process.wait(lab.scaled(20)))
        server.check_log()

    def test_jobs_and_history_survive_restarts(self):
        server = self.server()
        server.start()
        server.apply({"j": self.ledger.process_job(), "k": self.ledger.process_job(schedule="@daily")})
        run = server.cli.trigger("j")
        before = server.cli.wait_end(run)
        for end in (server.stop, server.kill, server.stop):
            end()
            server.start()
            self.assertEqual({"j", "k"}, {j["job"] for j in server.cli.json("jobs")})
            self.assertEqual(before, server.cli.run(run))

    def test_a_full_disk_refuses_new_work_goes_on_serving_and_recovers(self):
        if os.geteuid() != 0:
            self.skipTest("mounting a tmpfs needs root")
        small = lab.Tmpfs(self.folder.join("small"), "24m")
        try:
            self.fill_the_disk(small)
        finally:
            for server in self.servers:
                server.close()
            small.close()

    def fill_the_disk(self, small):
        data = os.path.join(small.path, "data")
        os.mkdir(data)
        server = self.server(data=data)
        server.start()
        server.apply({"j": self.ledger.process_job(concurrency="allow")})
        self.assertEqual("succeeded", server.cli.wait_end(server.cli.trigger("j"))["verdict"])
        ballast = os.path.join(small.path, "ballast")
        with open(ballast, "wb") as f:
            try:
                while True:
                    f.write(b"x" * 65536)
                    f.flush()
            except OSError:
                pass

        def refused():
            answer = server.cli.call("trigger", "j")
            return answer if answer.code != 0 else None

        answer = lab.wait_for(refused, 60, "a refusal")
        self.assertTrue(server.running(), server.log_tail())
        self.assertNotEqual("", answer.err)
        self.assertEqual(["j"], [j["job"] for j in server.cli.json("jobs")])
        os.unlink(ballast)
        run = lab.wait_for(lambda: (lambda a: a.json()["run"] if a.code == 0 else None)(
            server.cli.call("trigger", "j", "-o", "json")), 60, "work to be taken again")
        self.assertEqual("succeeded", server.cli.wait_end(run)["verdict"])
        acknowledged = {r["run"] for r in server.cli.runs("j")}
        server.kill()
        server.start()
        self.assertLessEqual(acknowledged, {r["run"] for r in server.cli.runs("j")})
        self.assertNone(lab.Checker(self.ledger).strict().problems)
        server.stop()

    # --- clocks

    def stepped(self, jobs):
        """A server whose wall clock can be set."""
        why = why_no_faked_clock()
        if why:
            self.skipTest(why)
        self.clock = FakedClock(self.folder)
        server = self.server(environment=self.clock.environment)
        server.cli.environment.pop("LD_PRELOAD", None)
        server.start()
        server.apply(jobs)
        return server

    def test_a_clock_stepped_back_refires_nothing(self):
        server = self.stepped({"j": self.ledger.process_job(schedule=EVERY_SECOND, concurrency="allow")})
        lab.wait_for(lambda: len(self.ledger.starts()) >= 5, 20, "five starts")
        before = set(self.ledger.starts())
        self.clock.step(-4)
        lab.wait_for(lambda: len(self.ledger.starts()) >= len(before) + 4, 30, "starts after the step")
        self.assertNone(lab.Checker(self.ledger).strict().problems)
        self.assertTrue(server.running())
        server.stop()

    def test_a_clock_stepped_forward_accounts_for_every_fire_time(self):
        server = self.stepped({"j": self.ledger.process_job(schedule=EVERY_SECOND, concurrency="allow")})
        lab.wait_for(lambda: len(self.ledger.starts()) >= 3, 20, "three starts")
        first = min(self.ledger.starts())
        self.clock.step(20)
        lab.quiet_for(6)
        self.assertNone(lab.Checker(self.ledger).strict().problems)
        since = f"{first[2:6]}-{first[6:8]}-{first[8:13]}:{first[13:15]}:{first[15:17]}Z"
        answer = server.cli.audit(since, lab.instant(time.time() + 18))
        self.assertEqual(0, answer.code, answer)
        server.stop()

    # --- surroundings

    def damage(self, server, name):
        path = os.path.join(server.data, name)
        with open(path, "r+b") as f:
            f.write(b"this is no database at all, sorry" * 8)
        return path

    def test_a_damaged_journal_is_refused_and_not_overwritten(self):
        server = self.server()
        server.start()
        server.apply({"j": self.ledger.process_job()})
        server.stop()
        path = self.damage(server, "journal.db")
        server.launch()
        lab.wait_for(lambda: not server.running(), 30, "the process to give up")
        self.assertNotEqual(0, server.process.returncode)
        self.assertIn("journal.db", server.log())
        self.assertIn(b"this is no database", open(path, "rb").read(64))

    def test_a_damaged_history_costs_the_past_and_nothing_that_decides(self):
        server = self.server()
        server.start()
        server.apply({"j": self.ledger.process_job(schedule=EVERY_SECOND, concurrency="allow")})
        lab.wait_for(lambda: len(self.ledger.starts()) >= 3, 20, "three starts")
        server.stop()
        before = len(self.ledger.starts())
        self.damage(server, "history.db")
        server.start()
        self.assertIn("history", server.log())
        lab.wait_for(lambda: len(self.ledger.starts()) >= before + 2, 20, "more starts")
        self.assertNone(lab.Checker(self.ledger).strict().problems)
        server.stop()

    def test_the_store_is_an_ordinary_sqlite_file(self):
        server = self.server()
        server.start()
        server.apply({"j": self.ledger.process_job()})
        server.cli.wait_end(server.cli.trigger("j"))
        server.stop()
        paths = [os.path.join(folder, f) for folder, _, files in os.walk(server.data) for f in files
                 if open(os.path.join(folder, f), "rb").read(15) == b"SQLite format 3"]
        for path in paths:
            self.assertEqual("ok", sqlite3.connect(path).execute("pragma integrity_check").fetchone()[0])
        shutil.copytree(server.data, self.folder.join("copy"))

    def test_an_engine_that_cannot_be_reached_is_told_and_keeps_its_jobs_waiting(self):
        server = self.server(engines={"docker": {"type": "docker", "endpoint": "unix:///run/nobody/docker.sock"}})
        server.start()
        server.apply({"j": {"image": "busybox:local", "command": ["true"]}})
        run = server.cli.trigger("j")
        lab.wait_for(lambda: "engine-unreachable" in server.log(), 20, "word of it in the log")
        line = next(line for line in server.log().splitlines() if "engine-unreachable" in line)
        self.assertIn("/run/nobody/docker.sock: No such file or directory", line)
        doctor = server.cli.call("doctor")
        self.assertNotEqual(0, doctor.code)
        self.assertIn("No such file or directory", doctor.out)
        self.assertIsNone(server.cli.run(run)["verdict"])  # it waits

    def test_missing_zone_files_are_told_and_harm_only_what_needs_them(self):
        server = self.server(environment={"TZDIR": self.folder.make("no-zones")})
        server.cli.environment["TZDIR"] = self.folder.join("no-zones")
        server.launch()
        lab.wait_for(server.ready_or_dead, 30, "the server")
        if server.running():
            path = self.folder.write("z.yaml", '{"jobs": {"z": {"command": ["true"], "schedule": "@daily", '
                                               '"timezone": "Europe/Paris"}}}')
            answer = server.cli.call("apply", path)
            self.assertNotEqual(0, answer.code)
            self.assertIn("Europe/Paris", answer.err)
            server.apply({"u": self.ledger.process_job(schedule="@daily")})
            server.stop()
        else:
            self.assertIn("zone", server.log())

    def test_a_wrong_configuration_tells_every_fault_and_its_place(self):
        path = self.folder.write("bad.yaml", "cluster: lab\ndata_dri: /x\nlate_grace: yesterday\n")
        answer = lab.Cli("unix:/nowhere").call("serve", "--config", path)
        self.assertNotEqual(0, answer.code)
        self.assertIn(f"{path}:2:", answer.err)
        self.assertIn(f"{path}:3:", answer.err)
        self.assertIn("data_dir", answer.err)  # did you mean

    def test_the_command_line_without_a_server_says_so(self):
        answer = lab.Cli(f"unix:{self.folder.join('no.sock')}").call("jobs")
        self.assertEqual(5, answer.code)
        self.assertIn("no.sock", answer.err)


if __name__ == "__main__":
    lab.main()
