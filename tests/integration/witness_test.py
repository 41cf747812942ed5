#!/usr/bin/python3
"""What a cluster believes of ZooKeeper: a tree that went back, was emptied, or went on without those who know more is
neither followed nor led; and each way out that the guide names ("When the store is restored, emptied, moved or copied").
The nodes of ZooKeeper are copied and put back as files, as an operator would."""

import json
import os
import re
import shutil
import signal
import sqlite3
import sys
import time
import uuid

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lab"))
import lab  # noqa: E402
from cluster_test import Cluster  # noqa: E402
from zookeeper import ZooKeeper, free_ports, why_no_zookeeper  # noqa: E402

TICK = {"schedule": "* * * * * *", "concurrency": "allow", "catch_up": "all"}


class Witness(lab.Suite):
    def setUp(self):
        super().setUp()
        why = why_no_zookeeper()
        if why:
            self.skipTest(why)

    # --- what an operator does

    def zookeeper_data(self, c):
        return c.zk.members[0].file("data")

    def backup(self, c):
        c.zk.stop()
        shutil.rmtree(self.zookeeper_data(c) + ".backup", ignore_errors=True)
        shutil.copytree(self.zookeeper_data(c), self.zookeeper_data(c) + ".backup")
        c.zk.start()

    def put_back(self, c, kept=".lost"):
        """The backup in place of the data, which stay beside it."""
        c.zk.stop()
        shutil.rmtree(self.zookeeper_data(c) + kept, ignore_errors=True)
        os.rename(self.zookeeper_data(c), self.zookeeper_data(c) + kept)
        shutil.copytree(self.zookeeper_data(c) + ".backup", self.zookeeper_data(c))
        c.zk.start()

    def empty(self, c):
        c.zk.stop()
        shutil.rmtree(self.zookeeper_data(c))
        c.zk.members[0].prepare(c.zk.members)
        c.zk.start()

    # --- what is seen

    def standing(self, server):
        return server.cli.cluster()["standing"]

    def wait_standing(self, server, standing, seconds=20):
        lab.wait_for(lambda: self.standing(server) == standing, seconds,
                     lambda: f"{server.name} to be {standing}: {server.log_tail(6)}")

    def assert_refuses(self, server, words):
        """Everywhere: readyz, doctor, cluster, metrics; and a write gets the reason."""
        self.wait_standing(server, "refusing")
        status, answer = server.http("GET", "/readyz")
        self.assertEqual(503, status)
        self.assertIn(words, str(answer))
        checks = server.cli.call("doctor", "-o", "json").json()
        self.assertTrue([x for x in checks if x["status"] == "error" and words in x["text"]], checks)
        told = server.cli.call("cluster")
        self.assertEqual(5, told.code, told)
        self.assertIn(words, told.out)
        self.assertEqual(1, server.metric("cronsched_refusing"))
        status, answer = server.http("POST", "/v1/pause", {})
        self.assertEqual((502, "refused"), (status, answer["error"]["code"]))  # for good: not to be tried again
        self.assertIn(words, str(answer))

    def ticks(self, ledger, more, seconds=30):
        begun = len(ledger.starts())
        lab.wait_for(lambda: len(ledger.starts()) >= begun + more, seconds, f"{more} more starts")

    # --- the store is restored

    def test_a_tree_that_went_back_is_refused_until_somebody_decides(self):
        c = Cluster(self)
        ledger = lab.Ledger(self.folder)
        first, second = c.servers
        first.apply({"tick": ledger.process_job(**TICK)})
        self.ticks(ledger, 3)
        self.backup(c)
        self.ticks(ledger, 6)
        self.put_back(c)
        for server in c.servers:
            self.assert_refuses(server, "committed batches were lost")
        starts = len(ledger.starts())
        shutil.rmtree(self.zookeeper_data(c) + ".backup")
        os.rename(self.zookeeper_data(c) + ".lost", self.zookeeper_data(c) + ".backup")
        self.put_back(c, ".old")  # the right data: it goes on by itself
        leader = c.wait_leader()
        self.ticks(ledger, 3)
        self.assertGreater(len(ledger.starts()), starts)
        self.assertEqual(0, leader.metric("cronsched_refusing"))

        # the same again, and the data are not to be had
        shutil.rmtree(self.zookeeper_data(c) + ".backup")
        os.rename(self.zookeeper_data(c) + ".old", self.zookeeper_data(c) + ".backup")
        self.put_back(c)
        self.wait_standing(first, "refusing")
        self.wait_standing(second, "refusing")
        lab.wait_for(lambda: len(c.view(first)["replicas"]) == 2, 20, "both to be seen")
        shown = first.cli.check("cluster", "recover").out
        self.assertRegex(shown, r"--from tree: .*is given up(.|\n)*--from r0: (.|\n)*--from r1: ")
        self.assertIn("Nothing was changed", second.cli.check("cluster", "recover", "--from", "r0").out)
        self.wait_standing(first, "refusing")
        since = lab.instant(time.time())
        self.assertIn("recovered", second.cli.check("cluster", "recover", "--from", "r0", "--yes", timeout=90).out)
        c.wait_leader()
        self.ticks(ledger, 3)
        self.ready_again(c)

        # and the state of the tree is good enough
        self.put_back(c)
        self.wait_standing(first, "refusing")
        first.cli.check("cluster", "recover", "--from", "tree", "--yes", timeout=90)
        c.wait_leader()
        self.ticks(ledger, 3)
        self.ready_again(c)
        self.assertNone(lab.Checker(ledger).strict().problems)
        lost = first.http("GET", "/v1/records?kinds=recovered")[1]
        self.assertEqual(2, len(lost), lost)
        # what only the other replica had seen is missing in the history here, and audit says so
        books = first.cli.audit(since).json()
        self.assertEqual((0, 0), (books["unaccounted_count"], books["doubled_count"]), books)
        lab.say(f"{len(ledger.starts())} starts over three trees that went back: none twice")

    def ready_again(self, c):
        for server in c.servers:
            lab.wait_for(server.ready, 30, lambda s=server: f"{s.name} to be ready: {s.log_tail(6)}")

    def test_one_that_is_above_a_fork_refuses_and_joins_anew(self):
        c = Cluster(self)
        first, second = c.servers
        first.apply({"j": {"command": ["true"]}})
        self.backup(c)
        c.wait_leader()
        for _ in range(3):
            first.cli.wait_end(first.cli.trigger("j"))
        second.stop()  # it knows what the others will have forgotten
        first.stop()
        self.put_back(c)
        shutil.rmtree(first.data)
        os.makedirs(first.data)
        first.start()
        for _ in range(6):
            first.cli.wait_end(first.cli.trigger("j"))
        second.launch()
        lab.wait_for(lambda: os.path.exists(second.socket), 20, "the socket")
        self.assert_refuses(second, "the histories differ")
        self.assert_refuses(first, "replica r1 holds")  # two histories: nobody goes on with either

        answer = second.cli.call("cluster", "rejoin", "--data-dir", second.data)
        self.assertNotEqual(0, answer.code)
        self.assertIn("a server runs on", answer.err)
        second.stop()
        self.wait_standing(first, "member")
        self.assertIn("Nothing was changed", second.cli.check("cluster", "rejoin", "--data-dir", second.data).out)
        self.assertTrue(os.path.exists(os.path.join(second.data, "history.db")))
        second.cli.check("cluster", "rejoin", "--data-dir", second.data, "--yes")
        second.start()
        self.assertEqual(["j"], [j["job"] for j in second.cli.json("jobs")])
        set_aside = [name for name in os.listdir(second.data) if name.startswith("discarded-")]
        self.assertIn("history.db", os.listdir(os.path.join(second.data, set_aside[0])))

    # --- the store is emptied

    def test_an_emptied_tree_is_not_taken_for_a_new_cluster(self):
        c = Cluster(self)
        first, second = c.servers
        first.apply({"j": {"command": ["true"]}})
        lab.wait_for(lambda: second.cli.json("jobs"), 20, "the standby to follow")
        self.backup(c)
        self.empty(c)
        for server in c.servers:
            self.assert_refuses(server, "ZooKeeper holds nothing of this cluster")
        self.put_back(c)  # nothing was written since the backup
        self.ready_again(c)
        self.assertEqual("succeeded", c.wait_leader().cli.wait_end(first.cli.trigger("j"))["verdict"])
        self.empty(c)
        for server in c.servers:
            self.wait_standing(server, "refusing")
        c.ports += free_ports(1)
        fresh = c.make(2)
        fresh.config["init"] = True  # and yet it knows from the others that there was one
        fresh.launch()
        lab.wait_for(lambda: os.path.exists(fresh.socket), 20, "the socket")
        self.wait_standing(fresh, "unfounded")
        lab.quiet_for(1)
        self.assertEqual("unfounded", self.standing(fresh))
        self.assertIn("belongs to a cluster that was here", fresh.cli.call("cluster", "init").err)
        fresh.stop()
        first.cli.check("cluster", "recover", "--from", "r0", "--yes", timeout=90)
        leader = c.wait_leader()
        self.assertEqual(["j"], [j["job"] for j in leader.cli.json("jobs")])
        self.assertEqual("succeeded", leader.cli.wait_end(leader.cli.trigger("j"))["verdict"])
        self.ready_again(c)

    # --- the ensemble moves, and the cluster is given up

    def move(self, c):
        """The data on other servers, as an operator would: the old ones are stopped and stay so."""
        moved = ZooKeeper(self.folder.make("zk-moved"))
        c.zk.stop()
        shutil.copytree(os.path.join(self.zookeeper_data(c), "version-2"),
                        os.path.join(moved.members[0].file("data"), "version-2"), dirs_exist_ok=True)
        moved.start()
        self.addCleanup(moved.close)
        for server in c.servers:
            server.config["zookeeper"] = moved.connect
            server.write_config()
        c.zk = moved

    def test_an_ensemble_that_moved_and_a_cluster_that_is_given_up(self):
        c = Cluster(self)
        first, second = c.servers
        first.apply({"j": {"command": ["true"]}})
        first.cli.wait_end(first.cli.trigger("j"))
        epoch = c.view(first)["epoch"]
        self.move(c)
        os.kill(first.process.pid, signal.SIGHUP)
        second.stop()
        second.start()
        leader = c.wait_leader()
        self.ready_again(c)
        self.assertEqual("succeeded", leader.cli.wait_end(leader.cli.trigger("j"))["verdict"])
        self.assertGreaterEqual(c.view(leader)["epoch"], epoch)
        for server in c.servers:
            self.assertNotIn("refusing", server.log())

        for server in c.servers:
            server.stop()
            shutil.rmtree(server.data)
            os.makedirs(server.data)
            server.config.update(init=False, cluster_id=str(uuid.UUID(int=7)))
        self.empty(c)
        first.launch()
        lab.wait_for(lambda: os.path.exists(first.socket), 20, "the socket")
        self.wait_standing(first, "unfounded")
        self.assertIn(str(uuid.UUID(int=7)), first.cli.check("cluster", "init").out)
        c.wait_leader(first)
        self.assertEqual([], first.cli.json("jobs"))
        first.apply({"j": {"command": ["true"]}})
        second.start()
        self.assertEqual(["j"], [j["job"] for j in second.cli.json("jobs")])
        self.assertEqual("succeeded", second.cli.wait_end(second.cli.trigger("j"))["verdict"])

    def wait_refusing(self, server):
        """One that was killed, and left its socket there, is started again."""
        lab.wait_for(lambda: server.cli.call("cluster").out, 20, lambda: f"it to answer: {server.log_tail(6)}")
        self.wait_standing(server, "refusing")

    def test_a_copy_of_the_ensemble_gets_no_leader_of_its_own(self):
        c = Cluster(self)
        first, second = c.servers
        ledger = lab.Ledger(self.folder)
        first.apply({"tick": ledger.process_job(**TICK)})
        self.ticks(ledger, 3)
        since = lab.instant(time.time())
        second.kill()
        copied = ZooKeeper(self.folder.make("zk-copied"))
        shutil.copytree(os.path.join(self.zookeeper_data(c), "version-2"),
                        os.path.join(copied.members[0].file("data"), "version-2"), dirs_exist_ok=True)
        copied.start()
        self.addCleanup(copied.close)
        second.config["zookeeper"] = copied.connect
        self.ticks(ledger, 3)  # what the copy does not know
        second.launch()
        self.wait_refusing(second)
        lab.quiet_for(2)
        self.assertEqual("refusing", self.standing(second))
        self.assertRegex(str(second.http("GET", "/readyz")), "through another ZooKeeper ensemble|is not a member here")
        self.assertIs(first, c.leader())
        self.ticks(ledger, 2)

        for server, other in ((first, "r1"), (second, "r0")):  # each misses the other
            self.assertRegex(server.cli.call("doctor").out, f"error +replicas: {other} at .*uses another ZooKeeper")
            answer = server.cli.call("audit", "--since", since, "--all-replicas")
            self.assertEqual(1, answer.code, answer)
            self.assertIn(f"{other}: it is not a member here", answer.out)
        self.assertIn("r1 is there", second.cli.call("cluster", "forget", "r1").err)
        first.kill()  # what it alone holds is still known to exist
        lab.quiet_for(1)
        second.kill()
        second.launch()
        self.wait_refusing(second)
        self.assertIn("r0, which is not a member here, holds more", str(second.http("GET", "/readyz")))
        lab.wait_for(lambda: re.search("error +replicas: r0 at .*cannot be reached", second.cli.call("doctor").out), 10,
                     "r0 to be missed")
        starts = len(ledger.starts())

        second.kill()  # the right ensemble again
        second.config["zookeeper"] = c.zk.connect
        second.start()
        c.wait_leader(second)
        self.ticks(ledger, 2)
        self.assertGreater(len(ledger.starts()), starts)
        self.assertNone(run for run, n in ledger.starts().items() if n > 1)
        lab.wait_for(lambda: second.cli.call("cluster", "forget", "r0").code != 6, 20, "the session of r0 to end")
        self.assertIn("Nothing was changed", second.cli.check("cluster", "forget", "r0").out)
        self.assertIn("replicas: r0", second.cli.call("doctor").out)
        second.cli.check("cluster", "forget", "r0", "--yes")
        self.assertNotIn("replicas: r0", second.cli.call("doctor").out)
        self.assertEqual(0, second.cli.call("audit", "--since", lab.instant(time.time() - 5), "--all-replicas").code)

    # --- founding and joining

    def test_a_cluster_is_made_and_joined_by_somebody(self):
        c = Cluster(self, replicas=3, start=False)
        first, second, third = c.servers
        for server in c.servers:
            server.config.pop("init")
            server.config.pop("cluster_id")
        first.launch()
        lab.wait_for(lambda: os.path.exists(first.socket), 20, "the socket")
        self.wait_standing(first, "unfounded")
        lab.wait_for(lambda: "cronsched cluster init" in first.log(), 10, "the log to say what to do")
        status, answer = first.http("GET", "/readyz")
        self.assertEqual(503, status)
        self.assertIn("cronsched cluster init", str(answer))
        self.assertIn("cronsched cluster init", first.cli.call("doctor").out)
        self.assertIn("would make", first.cli.check("cluster", "init", "--dry-run").out)
        self.assertEqual("unfounded", self.standing(first))
        made = str(uuid.uuid4())
        self.assertIn(made, first.cli.check("cluster", "init", "--id", made).out)
        self.assertEqual(6, first.cli.call("cluster", "init").code)
        first.apply({"j": {"command": ["true"]}})

        second.config["pools"] = {"p": 3}  # a staging host, say
        second.launch()
        lab.wait_for(lambda: os.path.exists(second.socket), 20, "the socket")
        self.wait_standing(second, "joining")
        self.assertEqual(1, second.log().count('"event":"waiting"'), second.log())
        self.assertIn("r1 waits for consent", first.cli.call("doctor").out)
        pruned = second.cli.call("apply", self.folder.write("none.yaml", '{"jobs": {}}'), "--set", "x", "--prune")
        self.assertNotEqual(0, pruned.code)
        self.assertIn("cluster join", pruned.err)
        shown = second.cli.check("cluster", "join").out
        for words in (made, first.config["listen"][1], "r0", "batch"):
            self.assertIn(words, shown)
        self.assertEqual("joining", self.standing(second))
        self.assertEqual(6, first.cli.call("cluster", "join").code)
        second.cli.check("cluster", "join", "--yes")
        lab.wait_for(second.ready, 20, "it to be ready")
        self.assertEqual(["j"], [j["job"] for j in second.cli.json("jobs")])
        second.stop()  # the folder knows its cluster from now on
        second.start()

        third.config["cluster_id"] = made
        third.start()
        first.kill()  # of the two, the one whose configuration is the cluster's leads
        self.assertIs(third, c.wait_leader())
        third.kill()
        self.assertIs(second, c.wait_leader())  # nobody else is there

    def test_another_cluster_s_tree_is_refused(self):
        c = Cluster(self)
        first, second = c.servers
        first.apply({"j": {"command": ["true"]}})
        second.stop()
        first.stop()
        with open(os.path.join(first.data, "mark")) as f:
            mark = json.load(f)
        self.assertEqual(c.id, mark["cluster"])
        self.assertEqual(first.config["cluster_id"], mark["cluster"])
        staging = ZooKeeper(self.folder.make("zk-staging")).start()
        self.addCleanup(staging.close)
        for server in c.servers:
            server.config["zookeeper"] = staging.connect
        second.config.update(cluster_id=str(uuid.uuid4()))
        second.launch()
        self.assertEqual(6, second.process.wait(20))
        self.assertIn("belongs to cluster", second.log())
        shutil.rmtree(second.data)
        os.makedirs(second.data)
        second.config["init"] = True
        second.start()  # staging
        first.launch()  # production, on staging's ensemble
        lab.wait_for(lambda: os.path.exists(first.socket), 20, "the socket")
        self.assert_refuses(first, "belongs to")
        with open(os.path.join(first.data, "mark")) as f:
            self.assertEqual(mark, json.load(f))
        first.config["zookeeper"] = c.zk.connect  # as it should be
        first.write_config()
        os.kill(first.process.pid, signal.SIGHUP)
        lab.wait_for(first.ready, 30, lambda: f"it to go on: {first.log_tail(6)}")
        self.assertEqual("succeeded", first.cli.wait_end(first.cli.trigger("j"))["verdict"])
        self.assertEqual([], second.cli.json("jobs"))

    # --- the mark's file

    def test_the_mark_is_kept_and_a_damaged_one_is_told(self):
        c = Cluster(self, replicas=1)
        server = c.servers[0]
        server.apply({"j": {"command": ["true"]}})
        server.cli.wait_end(server.cli.trigger("j"))
        path = os.path.join(server.data, "mark")

        def kept():
            with open(path) as f:
                return json.load(f) == server.cli.cluster()["mark"]

        lab.wait_for(kept, 10, "the newest mark to be kept")
        os.makedirs(path + ".new")
        server.cli.wait_end(server.cli.trigger("j"))
        lab.wait_for(lambda: server.metric("cronsched_mark_failing") == 1, 10, "the metric")
        self.assertIn("cannot be written", server.cli.call("doctor").out)
        os.rmdir(path + ".new")
        lab.wait_for(lambda: server.metric("cronsched_mark_failing") == 0, 10, "it to be written again")
        lab.wait_for(kept, 10, "the newest mark to be kept")
        server.stop()
        with open(path, "w") as f:
            f.write('{"cluster":')
        server.launch()
        self.assertNotEqual(0, server.process.wait(20))
        self.assertIn("cronsched cluster rejoin", server.log())
        server.cli.check("cluster", "rejoin", "--data-dir", server.data, "--yes")
        server.start()
        self.assertEqual(["j"], [j["job"] for j in server.cli.json("jobs")])

    # --- the books

    def test_the_books_of_all_replicas_are_compared(self):
        c = Cluster(self)
        first, second = c.servers
        since = lab.instant(time.time() - 1)
        first.apply({"j": {"command": ["true"], "concurrency": "allow"}})
        runs = [first.cli.trigger("j") for _ in range(2)]
        for run in runs:
            first.cli.wait_end(run)
        answer = second.cli.call("audit", "--since", since, "--all-replicas")
        self.assertEqual(0, answer.code, answer)
        self.assertIn("the books of 2 replicas agree", answer.out)
        second.stop()
        db = sqlite3.connect(os.path.join(second.data, "history.db"))
        db.execute("UPDATE runs SET json = replace(json, 'succeeded', 'failed') WHERE run = ?", (runs[0],))
        db.commit()
        db.close()
        second.start()
        answer = first.cli.call("audit", "--since", since, "--all-replicas")
        self.assertEqual(1, answer.code, answer)
        self.assertIn(runs[0], answer.out)
        self.assertNotIn(runs[1], answer.out)
        second.kill()
        answer = first.cli.call("audit", "--since", since, "--all-replicas")
        self.assertEqual(1, answer.code, answer)
        self.assertIn("r1: cannot be asked", answer.out)


if __name__ == "__main__":
    lab.main()
