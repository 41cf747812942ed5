#!/usr/bin/python3
"""What belongs to others and does not answer: files of a dead mount, the user database, a database that somebody holds, a
disk, descriptors that are used up. Whoever does not need it goes on, it is told, and SIGTERM ends the server.

A preloaded library (HANG) makes calls hang while a file of that name is in the folder $HUNG."""

import os
import resource
import sqlite3
import subprocess
import sys
import threading
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lab"))
import lab  # noqa: E402

HANG = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <pwd.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

static int flagged(const char *flag)
{
    char path[4096];

    snprintf(path, sizeof(path), "%s/%s", getenv("HUNG") ? getenv("HUNG") : "", flag);
    return access(path, F_OK) == 0;
}

static void hang(const char *flag)
{
    while (flagged(flag))
        usleep(20000);
}

static void look(int fd, const char *part, const char *flag)
{
    char link[64], path[4096] = "";

    snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    if (readlink(link, path, sizeof(path) - 1) > 0 && strstr(path, part))
        hang(flag);
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

int open(const char *path, int flags, ...)
{
    va_list ap;
    int mode;

    va_start(ap, flags);
    mode = va_arg(ap, int);
    va_end(ap);
    if (strstr(path, "hangs-open"))
        hang("files");
    return REAL(open)(path, flags, mode);
}

int open64(const char *path, int flags, ...)
{
    va_list ap;
    int mode;

    va_start(ap, flags);
    mode = va_arg(ap, int);
    va_end(ap);
    if (strstr(path, "hangs-open"))
        hang("files");
    return REAL(open64)(path, flags, mode);
}

int fstat(int fd, struct stat *ret)
{
    look(fd, "hangs-stat", "files");
    return REAL(fstat)(fd, ret);
}

int fstat64(int fd, struct stat64 *ret)
{
    look(fd, "hangs-stat", "files");
    return REAL(fstat64)(fd, ret);
}

ssize_t read(int fd, void *buffer, size_t size)
{
    look(fd, "hangs-read", "files");
    return REAL(read)(fd, buffer, size);
}

int fdatasync(int fd)
{
    char name[16] = "";

    prctl(PR_GET_NAME, name);
    if (strcmp(name, "journal") == 0)
        hang("journal");
    return REAL(fdatasync)(fd);
}

int getaddrinfo(const char *node, const char *service, const struct addrinfo *hints, struct addrinfo **ret)
{
    if (node && strcmp(node, "hangs.example") == 0)
        hang("names");
    return REAL(getaddrinfo)(node, service, hints, ret);
}

int getpwnam_r(const char *name, struct passwd *entry, char *buffer, size_t size, struct passwd **ret)
{
    *ret = NULL;
    if (strcmp(name, "broken-directory") == 0 && flagged("users"))
        return EIO;
    if (strcmp(name, "slow-directory") == 0)
        hang("users");
    return REAL(getpwnam_r)(strstr(name, "-directory") ? "root" : name, entry, buffer, size, ret);
}
"""

FILES = 8  # as many as may hang


def tick(path):
    return {"schedule": "* * * * * *", "concurrency": "allow", "command": ["sh", "-c", f"date +%s.%N >>{path}"]}


class Hung(lab.Suite):
    """Everything hangs at the same moment, on a server for each kind; a test then looks at one of them."""

    @classmethod
    def setUpClass(cls):
        cls.place = lab.Folder("hung")
        cls.library = cls.place.join("hang.so")
        subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", cls.library, cls.place.write("hang.c", HANG), "-ldl"],
                       check=True)
        cls.files, cls.users, cls.disk, cls.held = (cls.one(name) for name in ("files", "users", "disk", "held"))
        cls.names = cls.make("names", {"zookeeper": "hangs.example:2181", "replica": "r1",
                                       "advertise": "http://127.0.0.1:1"})
        cls.flag(cls.names, "names")
        cls.names.launch()
        cls.lock = sqlite3.connect(os.path.join(cls.held.data, "history.db"), isolation_level=None)
        cls.since = time.time()
        cls.hang_files()
        cls.hang_users()
        cls.flag(cls.disk, "journal")
        cls.disk.waiting = cls.disk.cli.begin("trigger", "other")
        cls.lock.execute("BEGIN IMMEDIATE")
        cls.doctor = {}
        cls.asking = threading.Thread(target=cls.ask_doctor)
        cls.asking.start()

    @classmethod
    def make(cls, name, config=None):
        return lab.Server(cls.place, name, config=config, environment={
            "LD_PRELOAD": cls.library, "HUNG": cls.place.make(f"hung-{name}"),
            "ASAN_OPTIONS": "abort_on_error=1:detect_leaks=0:verify_asan_link_order=0"})

    @classmethod
    def one(cls, name):
        server = cls.make(name).start()
        server.ticks = cls.place.join(f"ticks-{name}")
        server.apply({"tick": tick(server.ticks), "other": {"command": ["true"]}})
        return server

    @classmethod
    def flag(cls, server, name, there=True):
        path = os.path.join(server.environment["HUNG"], name)
        if there:
            open(path, "w", encoding="utf-8").close()
        else:
            os.unlink(path)

    @classmethod
    def hang_files(cls):
        """Reads that hang in open, in stat and in read, a pipe, and one that is fine."""
        jobs = {"tick": tick(cls.files.ticks)}
        os.mkfifo(cls.place.join("pipe"))
        jobs["pipe"] = {"command": ["true"], "environment": {"T": {"from_file": cls.place.join("pipe")}}}
        jobs["fine"] = {"command": ["sh", "-c", "test $T = secret"],
                        "environment": {"T": {"from_file": cls.place.write("fine", "secret\n")}}}
        for i in range(FILES):
            path = cls.place.write(f"hangs-{('open', 'stat', 'read')[i % 3]}-{i}", "secret")
            jobs[f"hung-{i}"] = {"command": ["true"], "environment": {"T": {"from_file": path}}}
        cls.files.apply(jobs)
        cls.flag(cls.files, "files")
        cls.runs = {name: cls.files.cli.trigger(name) for name in jobs if name != "tick"}

    @classmethod
    def hang_users(cls):
        cls.users.apply({"tick": tick(cls.users.ticks), "slow": {"command": ["true"], "user": "slow-directory"},
                         "broken": {"command": ["true"], "user": "broken-directory"},
                         "nobody": {"command": ["true"], "user": "no-such-user"}})
        cls.flag(cls.users, "users")
        cls.user_runs = {name: cls.users.cli.trigger(name) for name in ("slow", "broken", "nobody")}

    @classmethod
    def ask_doctor(cls):
        """It takes as long as its probe of ZooKeeper may: beside the tests."""
        lab.wait_for(lambda: os.path.exists(cls.names.socket), 20, "the server to listen")
        cls.doctor["answer"] = cls.names.http("GET", "/v1/doctor", timeout=25)

    @classmethod
    def tearDownClass(cls):
        cls.asking.join()
        for server in (cls.files, cls.users, cls.disk, cls.held, cls.names):
            server.close()
        cls.lock.close()
        cls.place.close()

    def wait_since(self, seconds):
        time.sleep(max(0, self.since + seconds - time.time()))

    def assert_ticks(self, server, until=None):
        """One for each second since everything hangs, but for the ones under way."""
        until = until or time.time()
        with open(server.ticks, encoding="utf-8") as lines:
            ticks = [t for t in map(float, lines) if self.since + 1 < t < until]
        self.assertGreaterEqual(len(ticks), int(until - self.since) - 4)

    def checks(self, server):
        """What doctor finds beside "ok", as one text; its exit code is not of interest here."""
        found = server.cli.call("doctor", "-o", "json").json()
        found = found["checks"] if isinstance(found, dict) else found
        return "\n".join(f"{c['check']}: {c['text']}" for c in found if c["status"] != "ok")

    def test_3_files_that_hang_fail_their_own_runs_alone(self):
        for name, run in self.runs.items():
            end = self.files.cli.wait_end(run, 30)
            self.assertEqual("ended" if name == "fine" else "start-failed", end["attempts"][0]["state"], end)
            if name != "fine":
                self.assertIn("not a regular file" if name == "pipe" else "cannot be read: no", str(end), name)
        self.assertLess(time.time() - self.since, 28)
        self.assert_ticks(self.files)
        self.assertEqual(FILES, self.stuck(self.files))
        self.assertIn(f"{FILES} reads of files", self.checks(self.files))
        self.assertIn("file-stuck", self.files.log())
        refused = self.files.cli.wait_end(self.files.cli.trigger("fine"))
        self.assertIn("not tried", str(refused))
        self.assertTrue(self.files.ready())

    @staticmethod
    def stuck(server):
        lines = server.http("GET", "/metrics")[1].decode().splitlines()
        return sum(float(line.split()[-1]) for line in lines
                   if line.startswith("cronsched_engine_calls") and 'kind="stuck"' in line)

    def test_4_they_serve_again_when_they_come_back(self):
        self.flag(self.files, "files", False)
        lab.wait_for(lambda: self.stuck(self.files) == 0, 10, "the reads to come back")
        for name in ("fine", "hung-0"):
            self.assertEqual("succeeded", self.files.cli.wait_end(self.files.cli.trigger(name))["verdict"])
        self.flag(self.files, "files")
        self.files.cli.trigger("hung-0")
        lab.quiet_for(0.5)
        before = time.time()
        self.files.stop()  # while one hangs
        self.assertLess(time.time() - before, 5)

    def test_1_a_journal_that_does_not_answer_is_told(self):
        lab.wait_for(lambda: not self.disk.ready(), 20, "not to be ready")
        status, text = self.disk.http("GET", "/readyz")
        self.assertEqual(503, status)
        self.assertIn("the journal's file has not answered for", str(text))
        self.assertEqual(200, self.disk.http("GET", "/healthz")[0])
        self.assertIn("journal: its file has not answered", self.checks(self.disk))
        self.assertGreater(self.disk.metric("cronsched_journal_busy_seconds"), 9)
        self.disk.process.terminate()  # test_8 sees its end

    @unittest.skipIf(os.geteuid() != 0, "only root's server may change users")
    def test_2_a_user_database_that_does_not_answer_is_no_missing_user(self):
        self.assertIn("there is no user", str(self.users.cli.wait_end(self.user_runs["nobody"])))
        self.wait_since(11)
        for name in ("slow", "broken"):
            self.assertNotIn(self.users.cli.run(self.user_runs[name])["state"], ("ended", "skipped"))
        self.assertNotIn("engine process", self.checks(self.users))
        self.assertIn("cannot look up 'slow-directory': no answer within 10 s", self.users.log())
        self.assertIn("cannot look up 'broken-directory'", self.users.log())
        self.assert_ticks(self.users)
        self.flag(self.users, "users", False)
        for name in ("slow", "broken"):
            end = self.users.cli.wait_end(self.user_runs[name], 60)
            self.assertEqual("succeeded", end["verdict"], end)
        self.users.stop()

    def test_5_a_history_that_somebody_holds_is_told_and_made_up_for(self):
        self.wait_since(12)
        lab.wait_for(lambda: "database is locked" in self.held.log(), 10, "the history's complaint")
        self.assert_ticks(self.held)
        self.assertIn("database is locked", str(self.held.http("GET", "/readyz")))  # what it tells of the past is behind
        self.assertIn("database is locked", self.checks(self.held))
        self.lock.execute("COMMIT")
        lab.wait_for(lambda: self.held.cli.call("runs", "--limit", "1").code == 0, 60, "history to be written")
        lab.wait_for(self.held.ready, 60, "the replica to be ready")

    def test_6_without_descriptors_nothing_spins(self):
        pid = self.held.process.pid
        limits = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        self.held.cli.check("pause", "--all")
        lab.quiet_for(1.5)
        used = {int(fd) for fd in os.listdir(f"/proc/{pid}/fd")}
        free = min(set(range(len(used) + 1)) - used)
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (free, limits[1]))
        client = self.held.cli.begin("jobs")
        before = self.cpu(pid)
        lab.quiet_for(1.5)
        self.assertLess(self.cpu(pid) - before, 0.5)
        resource.prlimit(pid, resource.RLIMIT_NOFILE, limits)
        client.kill()
        client.wait()
        self.assertIn("http-paused", self.held.log())
        self.assertTrue(self.held.ready())
        self.held.stop()

    @staticmethod
    def cpu(pid):
        with open(f"/proc/{pid}/stat", encoding="utf-8") as f:
            fields = f.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def test_7_a_resolver_that_does_not_answer_is_told(self):
        self.wait_since(12)
        self.assertIn("cannot look up hangs.example: no answer within 10 s",
                      str(self.names.http("GET", "/v1/cluster")) + self.names.log())
        self.asking.join()
        self.assertIn("no answer within 10 s", str(self.doctor["answer"]))
        self.names.process.terminate()
        self.assertEqual(0, self.names.process.wait(14))

    def test_8_sigterm_leaves_a_journal_that_does_not_answer(self):
        self.assertEqual(7, self.disk.process.wait(20))
        self.assertIn("the journal did not close within", self.disk.log())
        self.disk.waiting.kill()
        self.disk.waiting.wait()


if __name__ == "__main__":
    lab.main()
