#!/usr/bin/python3
"""The simulators, of the scheduler (sim) and of the replicated journal (elections): worlds in which nothing may go wrong, then
the deliberate faults (jobs/base/mutant.h), each of which has to be found: those of the journal in a file by a unit test of
its own. What was found, and how soon, is printed.

  CRONSCHED_SIM_SECONDS   how long healthy worlds of each are run (12, 5; by hand an hour)
  CRONSCHED_SIM_SEED      the first of them (random)
  CRONSCHED_SIM_MUTANT_SECONDS   how long each mutant may stay unfound (120)

A fault is sought from a seed that is known to show it soon in the shipped code of today; where that seed does not show it
any more (the code has changed, and with it the course of every world) the search goes on with the next ones.
"""

import os
import random
import re
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lab"))
import lab  # noqa: E402
import sample  # noqa: E402

BUILD = os.environ.get("CRONSCHED_BUILD", "build-test")
PROGRAMS = ("sim", "elections")
UNIT_TEST = "../unit/test_journal_lost"
PATHS = ("jobs/", "leader/", "tests/sim/")  # what a world consists of
# The simulator itself was wrong in some of them: what it has to allow is as easily broken.
WENT_WRONG = {"sim": (24, 29, 100018, 200017, 200028, 500223, 31000010, 33000090, 7703, 79000077, 81000171, 83000028, 91111, 5100290),
              "elections": (684, 101152, 201629, 508417, 909287, 41000413, 42002726, 61000568, 10, 78001164, 900469, 5205448)}
FOUND_FROM = {"discard-before-ack": 15, "kill-retries": 2007, "edit-unaccounted": 8, "same-manual-id": 6, "lost-time-fired": 2,
              "lost-goes-on": 21, "armed-is-busy": 7, "accepted-is-started": 7, "clock-unconfirmed": 103, "tail-unread": 33,
              "mark-forgotten": 92, "hash-ignored": 441, "version-alone": 48, "members-unasked": 839}  # else 1


def setting(name, default):
    return int(os.environ.get(name, default))


def run(program, *words, seconds):
    """(exit code, what it printed). A crash of the simulator is an exit code below zero."""
    path = os.path.join(os.path.abspath(BUILD), "tests", "sim", program)
    done = subprocess.run([path, *map(str, words)], capture_output=True, text=True, errors="replace",
                          timeout=seconds + lab.scaled(240), check=False)
    return done.returncode, done.stdout + done.stderr


def mutants(program):
    code, text = run(program, "--mutants", seconds=10)
    return dict(line.split("\t") for line in text.splitlines()) if code == 0 else {}


def steps(text):
    return sum(int(n) for n in re.findall(r"(\d+) steps", text)[:1])


class Simulator(lab.Suite):
    side_by_side = 2

    def healthy(self, program, seconds):
        seconds, seed = setting("CRONSCHED_SIM_SECONDS", seconds), setting("CRONSCHED_SIM_SEED", random.randrange(1 << 40))
        code, text = run(program, "--seed", seed, "--seconds", seconds, seconds=seconds)
        lab.say(f"from seed {seed}: {text.strip()}")
        self.assertEqual(0, code, text)
        self.assertGreater(steps(text), 1000)

    def test_nothing_goes_wrong_in_healthy_worlds(self):
        self.healthy("sim", 12)

    def test_stops_that_are_answered_late(self):
        """A leader once attended a run again and again, without an end, while its stop was under way for so long."""
        seed = setting("CRONSCHED_SIM_SEED", random.randrange(1 << 40))
        code, text = run("sim", "--slow-stops", "--seed", seed, "--worlds", 3, seconds=120)
        self.assertEqual(0, code, text)

    def test_nothing_goes_wrong_in_healthy_elections(self):
        self.healthy("elections", 5)


class OnceWentWrong(lab.Suite):
    """Worlds whose course changes with the code; they are still those in which something rare came together."""
    side_by_side = 2

    @classmethod
    def sample(cls, names):
        return sample.chosen("worlds", names, lambda name: sample.Group("worlds that once went wrong", PATHS, 4, 2))

    def pass_through(self, program, seed):
        code, text = run(program, "--seed", seed, "--worlds", 1, seconds=60)
        self.assertEqual(0, code, text)


class Mutants(lab.Suite):
    side_by_side = 2

    @classmethod
    def sample(cls, names):
        return sample.chosen("mutants", names, lambda name: sample.Group("mutants", PATHS, 6, 3))

    def find(self, program, name, what):
        limit, first = setting("CRONSCHED_SIM_MUTANT_SECONDS", 120), FOUND_FROM.get(name, 1)
        began = time.monotonic()
        code, text = run(program, "--mutant", name, "--seed", first, "--seconds", limit, seconds=limit)
        found = re.search(r"VIOLATION.*", text)
        self.assertNotEqual(0, code, f"{name} ({what}) was not found in {limit} s: {text}")
        self.assertTrue(found, text)
        seed = int(re.search(r"--seed (\d+)", text).group(1))
        lab.say(f"{name}: {time.monotonic() - began:.1f} s, world {seed - first + 1}: {found.group(0)[:160]}")
        code, text = run(program, "--seed", seed, "--worlds", 1, seconds=limit)  # the fault made it, and not the world
        self.assertEqual(0, code, text)

    def find_by_unit_test(self, name, what):
        code, text = run(UNIT_TEST, "--mutant", name, seconds=60)
        failed = re.findall(r"\[  FAILED  \] (test_\w+)$", text, re.MULTILINE)
        self.assertNotEqual(0, code, f"{name} ({what}) was not found: {text}")
        self.assertTrue(failed, text)
        lab.say(f"{name}: {', '.join(sorted(set(failed)))}")


for _program, _seeds in WENT_WRONG.items():
    for _seed in _seeds:
        setattr(OnceWentWrong, f"test_{_program}_{_seed}", lambda self, p=_program, s=_seed: self.pass_through(p, s))
for _program in PROGRAMS:
    for _name, _what in mutants(_program).items():
        setattr(Mutants, f"test_{_name.replace('-', '_')}",
                lambda self, p=_program, n=_name, w=_what: self.find(p, n, w))
for _name, _what in mutants(UNIT_TEST).items():
    setattr(Mutants, f"test_{_name.replace('-', '_')}", lambda self, n=_name, w=_what: self.find_by_unit_test(n, w))
if not mutants(PROGRAMS[0]):
    Mutants.test_mutants = lambda self: self.skipTest("the program was built without mutants (-Dfaults=true)")


if __name__ == "__main__":
    lab.main()
