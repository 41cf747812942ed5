#!/usr/bin/python3
"""The server killed at random moments under load: no run twice, none forgotten, and none lost.

The load is one fire time a second for each of many process jobs, and a few in containers; every attempt writes to a
ledger of its own. The schedule is known by arithmetic, so the checker needs no word of the server; then `audit` is
asked as well and has to agree.
  CRONSCHED_KILLS_PROCESS, CRONSCHED_KILLS_DOCKER   how many kills (15 and 5; by hand 200 and 50)
  CRONSCHED_LOAD_PROCESS, CRONSCHED_LOAD_DOCKER     jobs that fire every second (20 and 2)
"""

import os
import random
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lab"))
import lab  # noqa: E402


def setting(name, default):
    return int(os.environ.get(name, default))


class RandomKill(lab.Suite):
    def storm(self, server, ledger, jobs, kills, seconds_between, settle_s):
        """Applies the jobs, kills the server so often at random moments, waits until the backlog is done; then
        compares ledger, schedule and audit."""
        seed = setting("CRONSCHED_SEED", random.randrange(1 << 30))
        chance = random.Random(seed)
        server.start()
        server.apply(jobs)
        first = int(time.time()) + 2
        for _ in range(kills):
            time.sleep(chance.uniform(*seconds_between))
            server.kill()
            server.start()
        last = int(time.time())
        names = list(jobs)
        wanted = {lab.run_id(n, t) for n in names for t in lab.every_second(first, last)}

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
        problems = checker.problems
        problems += [f"LOST: {r['run']}: {server.cli.call('explain', r['job'], r['fire_time']).out}" for r in lost]
        audit = server.cli.audit(lab.instant(first), lab.instant(last))
        if audit.code != 0:
            problems.append(str(audit))
        starts = sum(1 for x in checker.lines if x.what == "start")
        lab.say(f"{kills} kills over {last - first} s, {starts} starts of {len(wanted)} fire times, "
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
                for i in range(setting("CRONSCHED_LOAD_PROCESS", 20))}
        self.storm(self.server(), ledger, jobs, setting("CRONSCHED_KILLS_PROCESS", 15), (0.5, 4), 120)

    def test_docker_jobs(self):
        dockerd = lab.shared_docker()
        ledger = lab.Ledger(self.folder)
        jobs = {f"d{i}": ledger.docker_job(schedule="* * * * * *", concurrency="allow", catch_up="all")
                for i in range(setting("CRONSCHED_LOAD_DOCKER", 2))}
        server = self.server(engines={"docker": lab.docker_engine(dockerd)})
        self.storm(server, ledger, jobs, setting("CRONSCHED_KILLS_DOCKER", 5), (1, 6), 180)


if __name__ == "__main__":
    lab.main()
