#!/usr/bin/python3
"""The server killed at random moments under load, or short of memory at random: no run twice, none forgotten, none
lost.

The load is one fire time a second for each of many process jobs, and a few in containers; every attempt writes to a
ledger of its own. The schedule is known by arithmetic, so the checker needs no word of the server; then `audit` is
asked as well and has to agree.
  CRONSCHED_KILLS_PROCESS, CRONSCHED_KILLS_DOCKER   how many kills (15 and 5; by hand 200 and 50)
  CRONSCHED_LOAD_PROCESS, CRONSCHED_LOAD_DOCKER     jobs that fire every second (12 and 2, fewer on a slow machine)
  CRONSCHED_STARVED                                 how often it is short of memory (20)
"""

import http.client
import os
import random
import signal
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lab"))
import lab  # noqa: E402


def setting(name, default):
    return int(os.environ.get(name, default))


def load(name, jobs, least):
    """How many jobs fire every second: what a fast machine bears, or as much less as this one is slower."""
    return setting(name, max(least, round(jobs / lab.scaled(1))))


def kill(seconds_between):
    """The blow of a storm: kill -9 after a while. A blow returns the runs that were acknowledged to it."""
    def blow(server, chance):
        lab.quiet_for(chance.uniform(*seconds_between))
        server.kill()
        server.start()
        return ()
    return blow


QUESTIONS = ("/v1/jobs", "/v1/jobs/p0", "/v1/defs", "/v1/runs", "/v1/runs?state=running", "/v1/explain?job=p0&time={then}",
             "/v1/audit?since={then}", "/v1/records?job=p0", "/v1/cluster", "/v1/doctor", "/metrics")


def talk(server, chance, seconds):
    """Asks all sorts of things and triggers a job now and then, until the time is over or nobody answers. Returns the
    runs that were promised."""
    promised = set()
    until = time.monotonic() + seconds
    while time.monotonic() < until and server.running():
        try:
            if chance.random() < 0.3:
                status, answer = server.http("POST", "/v1/jobs/p0/trigger", {})
                if status in (200, 201, 202):
                    promised.add(answer["run"])
            else:
                question = chance.choice(QUESTIONS).format(then=lab.instant(time.time() - 3))
                status, answer = server.http("GET", question)
                if 400 <= status < 500 and status != 404:
                    raise lab.LabError(f"{question}: {status} {answer}")
        except (OSError, http.client.HTTPException):
            time.sleep(0.02)
    return promised


def starve(server, chance):
    """Started with an allocation that will fail, or some in a row, the server does without or ends and says why. What it
    must not do is crash, or stay and not end when asked."""
    first = int(10 ** chance.uniform(3.5, 4.8))
    starved = {"CRONSCHED_STARVE_SERVE": f"{first}-{first + chance.choice((0, 0, 2, 50))}"}
    if chance.random() < 0.5:
        starved["CRONSCHED_STARVE_JSON"] = "no"
    if chance.random() < 0.2:
        starved["CRONSCHED_STARVE_SUPERVISE"] = str(chance.randint(1, 8))
    server.kill()
    server.program = lab.binary("../tests/integration/cronsched-starved")
    server.launch(**starved)
    promised = talk(server, chance, chance.uniform(1, 4))
    server.process.terminate()
    code = server.process.wait(lab.scaled(20))
    server.check_log()
    if code < 0 and code not in (-signal.SIGABRT, -signal.SIGTERM):  # SIGTERM: before it listens to it
        raise lab.LabError(f"it ended with {code}: {server.log_tail()}")
    server.program = lab.binary()
    return promised


class RandomKill(lab.Suite):
    side_by_side = 2

    @classmethod
    def setUpClass(cls):
        cls.no_docker = lab.why_no_docker()
        if not cls.no_docker:
            cls.dockerd = lab.shared_docker()  # on this thread, which outlives those of the tests

    def storm(self, server, ledger, jobs, blows, blow, settle_s):
        """Applies the jobs, strikes the server so often at random, waits until the backlog is done; then compares ledger,
        schedule and audit."""
        seed = setting("CRONSCHED_SEED", random.randrange(1 << 30))
        chance = random.Random(seed)
        server.start()
        server.apply(jobs)
        first = int(time.time()) + 2
        promised = set()
        for _ in range(blows):
            promised.update(blow(server, chance))
        if not server.running():
            server.start()
        last = int(time.time())
        names = list(jobs)
        wanted = promised | {lab.run_id(n, t) for n in names for t in lab.every_second(first, last)}

        def done():
            ended = {x.run for x in ledger.lines() if x.what == "end"}
            return wanted <= ended

        problems = []
        try:
            lab.wait_for(done, settle_s, "the backlog to end", every=0.5)
        except lab.LabError:
            pass  # the checker says which
        server.cli.check("pause", "--all", "--reason", "the storm is over")
        unfinished = lab.wait_for(lambda: not self.open_runs(server), settle_s, lambda: self.open_runs(server)[:5],
                                  every=0.5)
        self.assertTrue(unfinished)
        lost = server.cli.runs("--verdict", "lost", "--since", lab.instant(first - 60))
        checker = lab.Checker(ledger).strict()
        for name in names:
            checker.targets(name, lab.every_second(first, last), epsilon_s=settle_s)
        problems = checker.problems + [f"MISSED: {run} was promised" for run in promised if not ledger.starts(run)]
        problems += [f"LOST: {r['run']}: {server.cli.call('explain', r['job'], r['fire_time']).out}" for r in lost]
        audit = server.cli.audit(lab.instant(first), lab.instant(last))
        if audit.code != 0:
            problems.append(str(audit))
        starts = sum(1 for x in checker.lines if x.what == "start")
        lab.say(f"{blows} blows over {last - first} s, {starts} starts of {len(wanted)} fire times and triggers, "
                f"{len(checker.doubles())} doubles, {len(lost)} lost, audit exit {audit.code} (seed {seed})")
        self.assertNone(problems)
        server.stop()

    @staticmethod
    def open_runs(server):
        return [r for state in ("waiting", "armed", "starting", "running", "retrying", "unresolved")
                for r in server.cli.runs("--state", state)]

    def test_process_jobs(self):
        ledger = lab.Ledger(self.folder)
        jobs = {f"p{i}": ledger.process_job(schedule="* * * * * *", concurrency="allow", catch_up="all")
                for i in range(load("CRONSCHED_LOAD_PROCESS", 12, 4))}
        self.storm(self.server(), ledger, jobs, setting("CRONSCHED_KILLS_PROCESS", 15), kill((0.5, 4)), 120)

    def test_process_jobs_short_of_memory(self):
        ledger = lab.Ledger(self.folder)
        jobs = {f"p{i}": ledger.process_job(schedule="* * * * * *", concurrency="allow", catch_up="all") for i in range(3)}
        self.storm(self.server(), ledger, jobs, setting("CRONSCHED_STARVED", 20), starve, 120)

    def test_docker_jobs(self):
        if self.no_docker:
            self.skipTest(self.no_docker)
        ledger = lab.Ledger(self.folder)
        jobs = {f"d{i}": ledger.docker_job(schedule="* * * * * *", concurrency="allow", catch_up="all")
                for i in range(load("CRONSCHED_LOAD_DOCKER", 2, 1))}
        server = self.server(engines={"docker": lab.docker_engine(self.dockerd)})
        self.storm(server, ledger, jobs, setting("CRONSCHED_KILLS_DOCKER", 5), kill((1, 6)), 180)


if __name__ == "__main__":
    lab.main()
