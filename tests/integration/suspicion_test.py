#!/usr/bin/python3
"""Who is taken for dead, and how soon. A replica that cannot reach the leader asks it through ZooKeeper: so a name with an
address that nobody listens at, a port that rejects or a mistyped `advertise` deposes nobody and is reported, and a leader
that is killed or stopped without a word is replaced long before its session ends.
"""

import ctypes
import functools
import http.server
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lab"))
import lab  # noqa: E402
from cluster_test import Cluster  # noqa: E402
from network import Network  # noqa: E402
from zookeeper import CLASS_PATH, ZooKeeper, free_ports, why_no_zookeeper  # noqa: E402

SESSION_S = 10
QUIET_S = 8  # of no fault: before, ten take-overs
HOSTS = "::1 localhost\n127.0.0.1 localhost\n"


def instant_of(event):
    whole, _, fraction = event["time"].rstrip("Z").partition(".")
    return lab.parse_instant(whole + "Z") + float("0." + (fraction or "0"))


def events(server, *names):
    found = []
    for line in server.log().splitlines():
        if line.startswith("{"):
            event = json.loads(line)
            if event.get("event") in names:
                found.append(event)
    return found


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


class Suspicion(lab.Suite):
    side_by_side = 3

    @classmethod
    def setUpClass(cls):
        cls.why = why_no_zookeeper()
        if cls.why:
            return
        cls.zk_folder = lab.Folder("zookeeper")
        cls.zk = ZooKeeper(cls.zk_folder).start()

    @classmethod
    def tearDownClass(cls):
        if not cls.why:
            cls.zk.close()
            cls.zk_folder.close()

    def cluster(self, name, **kwargs):
        if self.why:
            self.skipTest(self.why)
        config = {"log": "json", **kwargs.pop("config", {})}
        return Cluster(self, name=name, zookeeper=self.zk, config=config, **{"session_s": SESSION_S, **kwargs})

    def stays(self, c, seconds=QUIET_S):
        """One epoch, without a fault of anybody."""
        lab.quiet_for(seconds)
        view = c.view(c.servers[0])
        self.assertEqual((1, "r0"), (view["epoch"], view["leader"]["id"]), c.servers[1].log_tail(20))
        return view

    def elected_after(self, c, since, seconds=SESSION_S):
        """(seconds, server) of the first election after an instant."""
        def find():
            found = [(instant_of(e) - since, s) for s in c.servers for e in events(s, "elected")
                     if instant_of(e) > since]
            return min(found, key=lambda x: x[0]) if found else None
        return lab.wait_for(find, seconds, lambda: f"an election: {[s.log_tail(4) for s in c.servers]}", every=0.02)

    def test_a_name_of_two_addresses_of_which_one_listens(self):
        c = self.cluster("dual", start=False)
        hosts = self.folder.write("hosts", HOSTS)
        for server, port in zip(c.servers, c.ports):
            server.wrapper = ["unshare", "-m", "bash", "-c", f'mount --bind {hosts} /etc/hosts && exec "$@"', "ns"]
            server.config["advertise"] = f"http://localhost:{port}"
            server.start()
        c.wait_leader(c.servers[0])
        view = self.stays(c)
        self.assertEqual([], [d for d in view["differences"] if d["what"] == "links"])
        self.assertEqual([], events(c.servers[1], "leader-unreachable"))

    def test_a_name_with_an_address_that_has_no_way(self):
        """Its other address refuses at once when the leader is killed; the connection does not wait for the first."""
        c = self.cluster("away", start=False)
        hosts = self.folder.write("hosts", "2001:db8::7 cron.test\n127.0.0.1 cron.test localhost\n")
        for server, port in zip(c.servers, c.ports):
            server.wrapper = ["unshare", "-m", "bash", "-c", f'mount --bind {hosts} /etc/hosts && exec "$@"', "ns"]
            server.config["advertise"] = f"http://cron.test:{port}"
            server.start()
        c.wait_leader(c.servers[0])
        self.stays(c, 4)
        killed = time.time()
        c.servers[0].kill()
        took, _ = self.elected_after(c, killed)
        lab.say(f"after kill -9 {took:.2f} s")
        self.assertLess(took, 1.2)

    def test_an_address_that_refuses_is_reported_and_deposes_nobody(self):
        wrong = f"http://127.0.0.1:{free_ports(1)[0]}"
        c = self.cluster("wrong", configs=({"advertise": wrong},))
        self.stays(c)
        self.assertEqual(403, c.servers[0].http("GET", "/v1/peer/heartbeat")[0])  # for replicas alone
        told = events(c.servers[1], "leader-unreachable")
        self.assertEqual(1, len(told), c.servers[1].log_tail(20))  # not with each attempt
        self.assertIn(wrong, told[0]["text"])
        lab.wait_for(lambda: any(wrong in d["text"] for s in c.servers for d in c.view(s)["differences"]
                                 if d["what"] == "links"), 10, "the link to be among the differences")
        self.assertIn("check `advertise`", c.servers[0].cli.call("doctor").out)

    def test_the_killed_and_the_stopped_are_replaced_soon(self):
        c = self.cluster("soon", replicas=3)
        first = c.servers[0]
        lab.wait_for(lambda: len(c.view(first)["replicas"]) == 3, 10, "three members")
        lab.wait_for(lambda: all(r.get("fit") for r in c.view(first)["replicas"]), 10, "the others to be fit")
        asked = time.time()
        first.cli.check("cluster", "step-down")
        orderly, second = self.elected_after(c, asked)  # what an election takes here and now
        c.wait_leader(second)
        figures = [f"handed over in {orderly:.2f} s"]
        lab.quiet_for(2)
        killed = time.time()
        second.kill()
        took, third = self.elected_after(c, killed)
        figures.append(f"after kill -9 {took:.2f} s")
        self.assertLess(took, 0.75 + 5 * orderly, figures)
        c.wait_leader(third)
        second.start()
        lab.quiet_for(2)
        stopped = time.time()
        os.kill(third.process.pid, signal.SIGSTOP)
        took, fourth = self.elected_after(c, stopped)
        figures.append(f"after SIGSTOP {took:.2f} s")
        self.assertLess(took, 2 + 5 * orderly, figures)
        self.assertGreater(took, 0.8, figures)  # nobody is deposed for a moment's silence
        killed = time.time()
        fourth.kill()  # the second failure within the session
        took, last = self.elected_after(c, killed)
        figures.append(f"after a second kill -9 {took:.2f} s")
        self.assertLess(took, 1.5 + 5 * orderly, figures)
        os.kill(third.process.pid, signal.SIGCONT)
        c.wait_leader(last)
        lab.wait_for(lambda: third.http("GET", "/readyz")[1].get("role") == "standby", 20, "the stopped one to follow")
        lab.say(", ".join(figures))

    def misled(self, name, advertise, text):
        """Nothing fails, but the leader's `advertise` leads somewhere else: it stays, and that is reported."""
        c = self.cluster(name, configs=({"advertise": advertise},))
        self.stays(c, 5)
        told = events(c.servers[1], "leader-unreachable")
        self.assertEqual(1, len(told), c.servers[1].log_tail(20))
        self.assertIn(text, told[0]["text"])

    def test_an_address_that_is_silent(self):
        silent = socket.create_server(("127.0.0.1", 0))  # the kernel accepts, nobody reads
        self.addCleanup(silent.close)
        self.misled("silent", f"http://127.0.0.1:{silent.getsockname()[1]}", "no answer for")

    def test_an_address_of_something_else(self):
        folder = self.folder.make("empty")
        web = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=folder))
        self.addCleanup(web.server_close)
        self.addCleanup(web.shutdown)
        threading.Thread(target=web.serve_forever, daemon=True).start()
        self.misled("web", f"http://127.0.0.1:{web.server_port}", "HTTP status 404")

    def enter(self, net):
        """This thread, until the end of the test."""
        own = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        self.addCleanup(os.close, own)
        self.addCleanup(ctypes.CDLL(None).setns, own, 0)
        net.enter()

    def slow_down(self, server):
        """Until the returned function is called it gets an eighth of its time, as beside many others."""
        over = threading.Event()

        def toggle():
            while not over.is_set():
                for sig, seconds in ((signal.SIGSTOP, 0.35), (signal.SIGCONT, 0.05)):
                    os.kill(server.process.pid, sig)
                    time.sleep(seconds)

        thread = threading.Thread(target=toggle)
        thread.start()

        def end():
            over.set()
            thread.join()

        self.addCleanup(end)
        return end

    def test_a_machine_that_is_gone_and_a_way_that_rejects(self):
        """Replicas in namespaces of their own, since a cut must reach packets."""
        if self.why:
            self.skipTest(self.why)
        net = Network(self.folder.make("network"))
        self.addCleanup(net.close)
        spaces = [net.add(name, number) for name, number in (("zookeeper", 11), ("r0", 21), ("r1", 22))]
        zk = ZooKeeper(self.folder.make("own"), addresses=[spaces[0].address], prefixes=[spaces[0].prefix])
        self.addCleanup(zk.close)
        c = Cluster(self, name="net", zookeeper=zk, session_s=SESSION_S, config={"log": "json"}, start=False)
        self.enter(net)
        zk.start()
        for server, space in zip(c.servers, spaces[1:]):
            server.wrapper = space.prefix
            server.config.update({"listen": [f"unix:{server.socket}", f"{space.address}:7460"],
                                  "advertise": f"http://{space.address}:7460"})
            server.start()
        c.wait_leader(c.servers[0])
        ledger = lab.Ledger(self.folder)
        c.servers[0].apply({"tick": ledger.process_job(schedule="* * * * * *", concurrency="allow")})
        quick = self.slow_down(c.servers[0])
        lab.quiet_for(4)  # the link that stands shows it
        spaces[2].run("iptables", "-w", "-A", "OUTPUT", "-d", spaces[1].address, "-p", "tcp", "-j", "REJECT",
                      "--reject-with", "tcp-reset")  # both ways of every connection between the two break
        self.stays(c)
        quick()
        spaces[2].heal()
        lab.quiet_for(4)  # the link stands again
        gone = time.time()
        for other in (spaces[0], spaces[2]):
            spaces[1].cut(other.address)
        took, _ = self.elected_after(c, gone)
        started = lab.wait_for(lambda: [x.wall for x in ledger.lines() if x.what == "start" and x.wall > gone + took], 20,
                               "a start by the other")
        lab.say(f"a leader that was cut off was replaced after {took:.2f} s, the next start came "
                f"after {min(started) - gone:.2f} s")
        self.assertLess(took, 4)
        spaces[1].heal()
        lab.wait_for(lambda: c.servers[0].http("GET", "/readyz")[1].get("role") == "standby", 30, "the old one to follow")
        self.assertNone(lab.Checker(ledger).strict().problems)

    def zookeeper_run(self, *commands):
        words = ["java", "-Xmx64m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp", ":".join(CLASS_PATH),
                 "org.apache.zookeeper.ZooKeeperMain", "-server", self.zk.members[0].connect]
        done = subprocess.run(words, input="\n".join([*commands, "quit"]), capture_output=True, text=True, timeout=60,
                              check=False)
        self.assertIn("Created", done.stdout + done.stderr)

    def test_an_orphan_in_the_leaders_place_is_replaced(self):
        c = self.cluster("orphan", session_s=2)
        for server in reversed(c.servers):
            server.stop()
        self.zookeeper_run("create /cronsched/orphan/leader hello")
        began = time.time()
        for server in c.servers:
            server.launch()
        c.wait_leader()
        _, server = self.elected_after(c, began)
        told = [len(events(s, "orphan")) for s in c.servers]
        self.assertEqual(1, max(told), told)  # each that takes part in it says so once
        self.assertEqual("orphan", server.cli.json("cluster", "takeovers")[-1]["cause"])
        for s in c.servers:
            lab.wait_for(s.ready, 10, "all to be ready")
        epoch = server.cli.cluster()["epoch"]  # while it leads its node is removed: it stays
        self.zookeeper_run("delete /cronsched/orphan/leader", "create /removed x")
        lab.wait_for(lambda: events(server, "leader-node"), 10, "the leader to put its node back")
        lab.quiet_for(2)  # longer than a claim takes to be believed
        for s in c.servers:
            lab.wait_for(s.ready, 10, "all to be ready")
            self.assertEqual(epoch, s.cli.cluster()["epoch"])


if __name__ == "__main__":
    lab.main()
