#!/usr/bin/python3
"""The models, checked exhaustively by spin; then their naive variants, each of which spin has to refute.

  CRONSCHED_MODEL_BIG=1   the larger worlds as well: three leaders, four fire times (minutes, and some GiB)
"""

import os
import re
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lab"))
import lab  # noqa: E402
import sample  # noqa: E402

HERE = os.path.dirname(os.path.abspath(__file__))
BIG = bool(os.environ.get("CRONSCHED_MODEL_BIG"))
LIMIT_S = 1500 if BIG else 240
MEMORY_MB = 16000 if BIG else 3000

# What is taken away, by the names that the models know, and why that is not enough.
NAIVE = {
    "launch": {
        "NO_EPOCH_CHECK": "appends are not fenced by the epoch",
        "READ_BEFORE_EPOCH": "the journal is read before the epoch is taken",
        "NO_COMMIT": "no record between preparing and releasing (a lease alone)",
        "OLD_ID_RELEASED": "a successor releases what another leader has prepared",
        "HANDED_OVER_RELEASED": "a leader releases what it has handed over",
        "RESENT_START": "a library sends the start request again",
        "RELEASED_AGAIN": "a start without an answer is sent again",
        "NO_SEAL": "a look at the start witness alone is taken as proof that nothing ran",
        "NO_WITNESS": "the seal takes the start witness's place",
        "GONE_PROVES": "a container that is gone is taken as proof",
        "IDENTITY_IGNORED": "what another engine does not know is taken for gone",
        "NO_BOOT": "the fence does not ask whether the host has restarted",
        "BOOT_BEFORE_SEAL": "it asks before the seal",
        "CLOCK_TRUSTED": "it trusts its clock that no start was sent",
        "DISCARD_EARLY": "what is revoked, or never ran, is removed before that is in the journal",
    },
    "mark": {
        "MARK_FORGOTTEN": "what was known is forgotten at the end of leadership",
        "HASH_IGNORED": "a batch in the place of another that was known is believed",
        "REFUSING_LEAVES": "a replica that does not believe the tree is no member any more",
        "VERSION_ALONE": "appends are fenced by the version of the epoch's node, which a tree that went back counts again",
        "MEMBERS_READ_BEFORE": "the members are read before the epoch is taken",
        "OWN_MARK_ALONE": "the journal goes on above what one replica knows, and not above what all know",
    },
    "suspicion": {
        "REFUSAL_IS_DEATH": "a leader that one replica cannot reach is deposed unasked",
        "NO_SECOND_WRITE": "the answer is read without a write before it",
        "ANY_ANSWER": "an answer to an earlier question counts",
        "EPOCH_IGNORED": "questions and answers do not name the epoch",
    },
    "ensembles": {
        "NO_QUESTION": "a winner leads without asking the other replica",
        "ASKED_BEFORE": "the other one is asked before the election",
        "ELECTED_UNSAID": "one that is elected does not say so before it leads",
        "NO_ORDER": "of two that claim none is the one to give way",
        "NO_REFUSAL": "two that lead already go on when they meet",
    },
    "supervisor": {
        "LOCK_OF_ONE": "the lock is the supervisor's alone, and not that of a process before its exec as well",
        "FIRST_ALONE": "what the command has forked is not looked for",
        "RECORDED_AFTER": "which processes are its own is written down after the exec",
        "KILLED_ONCE": "what was forked during the kill is not looked for again",
    },
    "clocks": {
        "FIRST_DECIDES": "voices that were not heard since the jump do not count",
        "ZOOKEEPER_DECIDES": "ZooKeeper's clock alone confirms a jump",
        "SET_COUNTS": "a clock counts as it is set, and not as its own replica believes it",
    },
    "cursor": {
        "NO_EPOCH_CHECK": "appends are not fenced by the epoch",
        "CURSOR_AFTER": "the cursor moves in another batch than the run",
        "CATCH_UP_IGNORES_CURSOR": "a new leader catches up from before the cursor",
        "EDIT_WITHOUT_ACCOUNTING": "an edit does not account for what came before it",
        "SKIP_UNSETTLED": "what another leader may have released can be skipped",
    },
}


class Models(lab.Suite):
    side_by_side = 2

    @classmethod
    def sample(cls, names):  # a model that has not changed says what it said
        return sample.chosen("models", names, lambda name: sample.Group("searches", ("tests/model/",), 8, 1))

    def spin(self, model, *defines):
        """(errors, states, depth, first error) of an exhaustive search."""
        folder = str(self.folder)

        def run(*command, seconds):
            done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=lab.scaled(seconds), check=False)
            self.assertEqual(0, done.returncode, f"{' '.join(command)}: {done.stdout}{done.stderr}")
            return done.stdout

        run("spin", "-a", *[f"-D{d}" for d in defines], os.path.join(HERE, f"{model}.pml"), seconds=30)
        run("gcc", "-O2", "-w", "-DSAFETY", "-DCOLLAPSE", "-DVECTORSZ=2048", f"-DMEMLIM={MEMORY_MB}", "-o", "pan", "pan.c",
            seconds=120)
        text = run("./pan", "-m200000", seconds=LIMIT_S)
        self.assertNotIn("out of memory", text)
        self.assertNotIn("max search depth too small", text)
        found = re.search(r"depth reached (\d+), errors: (\d+)", text)
        states = re.search(r"^\s*(\d+) states, stored", text, re.M)
        why = re.search(r"^pan:\d+: (.*)", text, re.M)
        self.assertTrue(found and states, text)
        return int(found.group(2)), int(states.group(1)), int(found.group(1)), why.group(1) if why else ""

    def holds(self, model, *defines):
        errors, states, depth, why = self.spin(model, *defines)
        lab.say(f"{' '.join([model, *defines])}: {states} states, depth {depth}, {errors} errors {why}")
        self.assertEqual(0, errors, why)

    def refuted(self, model, variant):
        errors, states, _, why = self.spin(model, variant)
        lab.say(f"{model} without it ({variant}: {NAIVE[model][variant]}): {why or 'no error'}; {states} states")
        self.assertEqual(1, errors, f"{variant} ought to fail")

    def test_a_run_is_started_at_most_once_and_ends(self):
        self.holds("launch")

    def test_so_it_does_when_somebody_removes_a_container(self):
        self.holds("launch", "REMOVALS=1", "CRASHES=0")

    def test_lost_can_be_reached(self):
        """The model is not so kind that nothing is ever lost."""
        errors, *_ = self.spin("launch", "LOST_UNREACHABLE")
        self.assertEqual(1, errors)

    def test_so_it_does_when_somebody_starts_a_container(self):
        self.holds("launch", "STRANGERS=1", "CRASHES=0", "EDITS=0")

    def test_so_it_does_when_another_engine_answers(self):
        self.holds("launch", "REPLACED=1", "CRASHES=0", "EDITS=0")

    def test_nobody_leads_a_tree_that_lacks_what_is_known(self):
        self.holds("mark")

    def test_a_recovered_journal_is_led(self):
        """The model is not so strict that nobody leads after a recovery."""
        errors, *_ = self.spin("mark", "RECOVERED_UNREACHABLE")
        self.assertEqual(1, errors)

    def test_a_leader_that_answers_is_not_deposed_and_a_dead_one_is(self):
        self.holds("suspicion")

    def test_of_two_ensembles_with_one_content_one_is_led(self):
        self.holds("ensembles")

    def test_one_of_two_ensembles_is_led_in_the_end(self):
        """The model is not so strict that nobody leads."""
        errors, *_ = self.spin("ensembles", "ONE_LEADS_UNREACHABLE")
        self.assertEqual(1, errors)

    def test_nothing_of_an_attempt_lives_when_its_supervisor_was_killed(self):
        self.holds("supervisor")

    def test_two_wrong_clocks_and_zookeepers_are_not_believed(self):
        self.holds("clocks")
        self.holds("clocks", "MEMBERS=4")
        self.holds("clocks", "MEMBERS=3", "WRONG=1")

    def test_a_majority_of_wrong_clocks_is_believed(self):
        """The model is not so kind that no jump is ever believed."""
        errors, *_ = self.spin("clocks", "MAJORITY_WRONG")
        self.assertEqual(1, errors)

    def test_every_fire_time_has_one_run_or_one_skip(self):
        self.holds("cursor")

    def larger_worlds(self):
        self.holds("launch", "LEADERS=3", "CRASHES=0")
        self.holds("launch", "REMOVALS=1")
        self.holds("launch", "REPLACED=2", "CRASHES=0", "EDITS=0")
        self.holds("cursor", "LEADERS=2", "T=4")


if BIG:
    Models.test_larger_worlds = Models.larger_worlds
for _model, _variants in NAIVE.items():
    for _variant in _variants:
        setattr(Models, f"test_{_model}_{_variant.lower()}_is_refuted",
                lambda self, m=_model, v=_variant: self.refuted(m, v))


if __name__ == "__main__":
    lab.main()
