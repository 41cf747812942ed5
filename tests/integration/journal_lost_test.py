#!/usr/bin/python3
"""The data folder of a server that stands alone is moved, emptied, restored, copied or mounted over, or lies where locks
do not lock: the server notices, stops to take and to start anything, and says what to do; no run starts twice. Also the
recipes of contrib/guide/backup.md, each run as it stands there."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lab"))
import lab  # noqa: E402

EVERY_SECOND = "* * * * * *"
LOST = "until it is started again"


class JournalLost(lab.Suite):
    side_by_side = 2

    def setUp(self):
        super().setUp()
        self.ledger = lab.Ledger(self.folder)

    def outside(self, name="server", **options):
        """A server whose socket is not in its data folder."""
        server = self.server(name=name, **options)
        server.socket = self.folder.join(f"{name}.sock")
        server.config["listen"] = [f"unix:{server.socket}"]
        server.cli = lab.Cli(f"unix:{server.socket}")
        return server

    def firing(self, **options):
        """A server that has fired some runs."""
        server = self.outside(**options)
        server.start()
        server.apply({"j": self.ledger.process_job(schedule=EVERY_SECOND, concurrency="allow", catch_up="all")})
        lab.wait_for(lambda: len(self.ledger.starts()) >= 3, 20, "three starts")
        return server

    def readyz(self, server):
        status, answer = server.http("GET", "/readyz")
        return status, json.dumps(answer)

    def await_red(self, server, reason):
        """Within a second it says so everywhere, and takes and starts nothing more."""
        began = time.monotonic()
        lab.wait_for(lambda: self.readyz(server)[0] == 503, 5, "an answer that it is not ready", every=0.02)
        self.assertLess(time.monotonic() - began, 1.2)
        text = lab.wait_for(lambda: (lambda t: t if LOST in t else None)(self.readyz(server)[1]), 5, "the reason")
        self.assertIn(reason, text)
        lab.quiet_for(0.3)  # what had been started before may still be about to write its line
        before = self.ledger.starts()
        began = time.monotonic()
        for words in (("trigger", "j"), ("pause", "j")):
            answer = server.cli.call(*words)
            self.assertNotEqual(0, answer.code)
            self.assertIn(reason, answer.err)
        self.assertLess(time.monotonic() - began, 5)  # it is not asked again and again
        doctor = server.cli.call("doctor")
        self.assertNotEqual(0, doctor.code)
        self.assertIn(reason, doctor.out)
        self.assertEqual(1, server.metric("cronsched_journal_lost"))
        self.assertIn(LOST, server.log())
        lab.quiet_for(4)
        self.assertEqual(before, self.ledger.starts())
        self.assertEqual(503, self.readyz(server)[0])
        self.assertEqual(["j"], [j["job"] for j in server.cli.json("jobs")])  # reading goes on

    def refused(self, server):
        """Why it does not start."""
        server.launch()
        lab.wait_for(lambda: not server.running(), 30, "the process to give up")
        self.assertNotEqual(0, server.process.returncode)
        return server.log_tail(2)

    def next_starts(self, server, count=2):
        before = len(self.ledger.starts())
        lab.wait_for(lambda: len(self.ledger.starts()) >= before + count, 20, "more starts")
        self.assertNone(lab.Checker(self.ledger).strict().problems)

    # --- under a living server

    def test_the_folder_is_moved_and_a_copy_takes_its_place(self):
        server = self.firing()
        data = server.data
        self.assertEqual(0, server.metric("cronsched_journal_lost"))
        shutil.copytree(data, data + ".copy")
        os.rename(data, data + ".moved")
        os.rename(data + ".copy", data)
        second = self.outside(name="second", data=data)
        self.assertIn(f"in use by process {server.process.pid}", self.refused(second))
        self.await_red(server, "journal.db was replaced")
        self.assertIn(f"in use by process {server.process.pid}", self.refused(second))
        server.stop()
        # the recipe: put the folder back that was moved
        shutil.rmtree(data)
        os.rename(data + ".moved", data)
        server.start()
        self.next_starts(server)
        server.stop()

    def test_the_files_are_removed(self):
        server = self.firing()
        for name in os.listdir(server.data):
            if name.startswith("journal.db"):
                os.unlink(os.path.join(server.data, name))
        self.await_red(server, "journal.db was moved or removed")
        second = self.outside(name="second", data=server.data)
        self.assertIn("another server has locked its folder", self.refused(second))
        server.kill()
        self.assertIn("journal.db is missing or empty, but batch", self.refused(server))
        self.assertIn("history.db says so", server.log_tail(2))
        # the recipe: begin again
        dry = server.cli.call("cluster", "reset-journal", server.data)
        self.assertEqual(1, dry.code, dry)
        self.assertIn("is missing or empty", dry.out)
        self.assertIn("Nothing was changed", dry.out)
        self.assertIn("is missing or empty, but batch", self.refused(server))
        done = server.cli.call("cluster", "reset-journal", server.data, "--yes")
        self.assertEqual(0, done.code, done)
        server.start()
        self.assertEqual([], server.cli.json("jobs"))
        self.assertEqual(1, len([f for f in os.listdir(server.data) if f.startswith("history.db.before-") and "Z" == f[-1]]))
        server.apply({"k": self.ledger.process_job()})
        server.cli.wait_end(server.cli.trigger("k"))
        server.stop()
        answer = server.cli.call("cluster", "reset-journal", server.data)
        self.assertEqual(0, answer.code, answer)
        self.assertIn("Nothing is missing", answer.out)

    def test_a_volume_is_mounted_over_the_folder(self):
        if os.geteuid() != 0:
            self.skipTest("mounting a tmpfs needs root")
        server = self.firing()
        volume = lab.Tmpfs(server.data, "16m")
        try:
            self.await_red(server, "journal.db was moved or removed")
            second = self.outside(name="second", data=server.data)
            self.assertIn(f"in use by process {server.process.pid}", self.refused(second))
        finally:
            server.kill()
            volume.close()
        server.start()
        self.next_starts(server)
        server.stop()

    def test_a_copy_is_written_over_the_file_in_place(self):
        server = self.firing()
        path = os.path.join(server.data, "journal.db")
        older = open(path, "rb").read()
        lab.wait_for(lambda: len(self.ledger.starts()) >= 6, 20, "more starts")
        with open(path, "r+b") as f:
            f.write(older)
        self.await_red(server, "was written to by another program")
        server.kill()

    def test_a_shell_can_neither_restore_into_it_nor_read_it(self):
        server = self.firing()
        path = os.path.join(server.data, "journal.db")
        for command in (".restore /dev/null", f".backup {self.folder.join('b.db')}", "UPDATE meta SET value = 0"):
            shell = subprocess.run(["sqlite3", path, command], capture_output=True, text=True, check=False)
            self.assertRegex(shell.stderr + shell.stdout, "locked|busy")
        subprocess.run(["sqlite3", os.path.join(server.data, "history.db"), f".backup {self.folder.join('h.db')}"],
                       check=True)  # the history may be copied at any time
        self.next_starts(server)
        server.stop()

    # --- at the start

    def test_an_older_journal_alone_is_refused(self):
        server = self.firing()
        server.stop()
        shutil.copy2(os.path.join(server.data, "journal.db"), self.folder.join("older.db"))
        server.start()
        self.next_starts(server, 4)
        server.stop()
        starts = dict(self.ledger.starts())
        shutil.copy2(self.folder.join("older.db"), os.path.join(server.data, "journal.db"))
        self.assertIn("was acknowledged", self.refused(server))
        os.unlink(os.path.join(server.data, "journal.db.lock"))  # as far as 0.1 went
        self.assertIn("history.db says so", self.refused(server))
        # the recipe: go on without what it lacks
        answer = server.cli.call("cluster", "reset-journal", server.data)
        self.assertEqual(1, answer.code, answer)
        self.assertIn("Would be lost", answer.out)
        server.cli.check("cluster", "reset-journal", server.data, "--yes")
        server.start()
        self.assertEqual(["j"], [j["job"] for j in server.cli.json("jobs")])
        lab.wait_for(lambda: sum(self.ledger.starts().values()) > sum(starts.values()) + 2, 20, "more starts")
        server.stop()

    def test_reset_journal_refuses_a_living_server_and_foreign_folders(self):
        server = self.firing()
        answer = server.cli.call("cluster", "reset-journal", server.data, "--yes")
        self.assertEqual(6, answer.code, answer)
        self.assertIn(f"in use by process {server.process.pid}", answer.err)
        answer = server.cli.call("cluster", "reset-journal", self.folder.make("empty"), "--yes")
        self.assertEqual(3, answer.code, answer)
        self.next_starts(server)
        server.stop()

    def test_a_backup_of_the_whole_folder_of_a_stopped_server(self):
        """The recipe for backing up and restoring it."""
        server = self.firing()
        server.stop()
        shutil.copytree(server.data, self.folder.join("backup"), symlinks=True)
        server.start()
        self.next_starts(server)
        server.stop()
        shutil.rmtree(server.data)
        shutil.copytree(self.folder.join("backup"), server.data, symlinks=True)
        server.start()  # a whole older folder is taken for what it says
        self.assertEqual(["j"], [j["job"] for j in server.cli.json("jobs")])
        server.stop()

    def test_an_older_history_alone_is_filled_up_from_the_journal(self):
        server = self.firing()
        server.stop()
        shutil.copy2(os.path.join(server.data, "history.db"), self.folder.join("older.db"))
        server.start()
        self.next_starts(server, 3)
        run = server.cli.trigger("j")
        server.cli.wait_end(run)
        server.stop()
        shutil.copy2(self.folder.join("older.db"), os.path.join(server.data, "history.db"))
        server.start()
        self.assertEqual("succeeded", server.cli.run(run)["verdict"])
        server.stop()

    def test_a_copy_is_not_served_beside_the_original(self):
        server = self.firing()
        server.stop()
        copy = self.folder.join("copy")
        shutil.copytree(server.data, copy, ignore=shutil.ignore_patterns("*.sock*"))
        server.start()
        second = self.outside(name="second", data=copy)
        self.assertIn(f"a copy of the journal that process {server.process.pid} has open elsewhere", self.refused(second))
        self.next_starts(server)
        server.stop()

    def test_two_containers_with_one_volume(self):
        """Own process and network namespaces: the lock on the file is common, and names the machine."""
        if os.geteuid() != 0:
            self.skipTest("namespaces need root")
        server = self.firing()
        second = self.outside(name="second", data=server.data,
                              wrapper=("unshare", "--net", "--pid", "--fork", "--kill-child", "--mount-proc"))
        self.assertIn(f"in use by process {server.process.pid} on {os.uname().nodename}", self.refused(second))
        self.next_starts(server)
        server.stop()

    def test_the_data_folder_may_be_a_symbolic_link(self):
        real = self.folder.make("real")
        link = self.folder.join("link")
        os.symlink(real, link)
        server = self.firing(data=link)
        second = self.outside(name="second", data=real)
        self.assertIn(f"in use by process {server.process.pid}", self.refused(second))
        os.unlink(link)  # pointed elsewhere
        os.symlink(self.folder.make("other"), link)
        self.await_red(server, "journal.db was moved or removed")
        server.kill()

    # --- locks that do not lock

    def unlocked(self, name, data, wrapper=()):
        library = os.path.join(os.environ.get("CRONSCHED_BUILD", "build-test"), "tests", "integration", "libunlocked.so")
        return self.outside(name=name, data=data, wrapper=wrapper, environment={
            "LD_PRELOAD": os.path.abspath(library), "UNLOCKED": data,
            "ASAN_OPTIONS": "abort_on_error=1:detect_leaks=0:verify_asan_link_order=0"})

    def test_where_locks_do_not_lock_the_older_server_stops(self):
        if os.geteuid() != 0:
            self.skipTest("a network namespace needs root")
        data = self.folder.make("shared")
        first = self.unlocked("first", data)
        first.start()
        first.apply({"j": self.ledger.process_job(schedule=EVERY_SECOND, concurrency="allow", catch_up="all")})
        lab.wait_for(lambda: len(self.ledger.starts()) >= 3, 20, "three starts")
        doctor = first.cli.call("doctor")
        self.assertIn("locks do not lock in data_dir", doctor.out)
        status, text = self.readyz(first)
        self.assertEqual(200, status)
        self.assertIn("locks do not lock in data_dir", text)
        # of the same machine: found by its socket
        beside = self.unlocked("beside", data)
        self.assertIn(f"in use by process {first.process.pid}", self.refused(beside))
        # as of another machine: only the files are common
        second = self.unlocked("second", data, wrapper=("unshare", "--net"))
        second.start()
        self.assertEqual(503, self.readyz(first)[0])
        self.assertIn("was taken by process", self.readyz(first)[1])
        lab.quiet_for(20)
        self.assertEqual(503, self.readyz(first)[0])
        self.assertEqual(200, self.readyz(second)[0])
        self.assertNone(lab.Checker(self.ledger).strict().problems)
        self.next_starts(second)
        first.stop()
        self.next_starts(second)
        second.stop()
        second.start()  # and the folder can be opened
        self.next_starts(second)
        second.stop()

    def test_where_locks_do_not_lock_one_of_two_that_start_together_gives_up(self):
        if os.geteuid() != 0:
            self.skipTest("a network namespace needs root")
        data = self.folder.make("shared")
        servers = [self.unlocked(f"s{i}", data, wrapper=("unshare", "--net")) for i in range(3)]
        for server in servers:
            server.launch()
        lab.wait_for(lambda: sum(s.running() for s in servers) == 1 and any(s.ready() for s in servers), 60, "one of them")
        for server in servers:
            if not server.running():
                self.assertIn("was taken by another server at the same time", server.log())
        lab.quiet_for(3)
        self.assertEqual(1, sum(s.running() and s.ready() for s in servers))

    # --- the machine stands still

    def test_after_a_pause_the_files_are_looked_at_first(self):
        """Replaced while the process was stopped (as by hibernation): nothing is started when it goes on."""
        server = self.firing()
        os.kill(server.process.pid, signal.SIGSTOP)
        lab.quiet_for(0.2)
        before = self.ledger.starts()
        shutil.copytree(server.data, server.data + ".copy")
        os.rename(server.data, server.data + ".moved")
        os.rename(server.data + ".copy", server.data)
        lab.quiet_for(3)
        os.kill(server.process.pid, signal.SIGCONT)
        self.await_red(server, "journal.db was replaced")
        self.assertEqual(before, self.ledger.starts())
        server.stop()


if __name__ == "__main__":
    lab.main()
