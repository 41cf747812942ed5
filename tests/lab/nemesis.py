"""Faults for a lab: each strikes at random, lasts, and is mended. All chance comes from one generator, so from a seed.

A nemesis is a class with strike() and mend(); `what` names it in the picture. Names of members are drawn by the
generator among those that the fault may hit.
"""

import os
import signal
import subprocess

from cluster import SECOND
from pace import quiet_for, scaled
from place import Tmpfs, wait_for


RECOVERED_S = 120
SETTLE_S = 12  # for a new leader to ask what is reserved on another engine


class Nemesis:
    """One fault at a time. `length_s` is how long it lasts, by choice among these two ends."""

    length_s = (1.0, 12.0)

    def __init__(self, lab, chance):
        self.lab, self.chance = lab, chance
        self.target = None

    @property
    def what(self):
        return type(self).__name__

    @staticmethod
    def possible(lab):
        """Can this machine and this lab do it?"""
        return True

    def choose_replica(self):
        """The leader as often as not: it is the one that matters."""
        self.target = self.lab.leader() if self.chance.random() < 0.5 else None
        self.target = self.target or self.chance.choice(list(self.lab.replicas))
        return self.lab.replicas[self.target]

    def start_again(self):
        if not self.lab.replicas[self.target].pid:
            self.lab.replicas[self.target].start()


class KillReplica(Nemesis):
    def strike(self):
        self.choose_replica().kill()

    def mend(self):
        self.start_again()


class StopReplica(Nemesis):
    """SIGTERM: it hands over."""

    def strike(self):
        self.choose_replica().stop(60)

    def mend(self):
        self.start_again()


class PauseReplica(Nemesis):
    """SIGSTOP, for less and for more than the session timeout."""

    def strike(self):
        self.choose_replica().pause()

    def mend(self):
        self.lab.replicas[self.target].resume()


class CutZooKeeper(Nemesis):
    other = "zookeeper"

    def strike(self):
        self.choose_replica()
        self.lab.cut(self.target, self.other, self.chance.choice(("both", "in", "out")))

    def mend(self):
        self.lab.heal(self.target)


class CutEngine(CutZooKeeper):
    other = "engine"


class CutReplicas(CutZooKeeper):
    """One replica from another: what is forwarded, and the watch for a closed connection."""

    def strike(self):
        self.choose_replica()
        other = self.chance.choice([n for n in self.lab.replicas if n != self.target])
        self.lab.cut(self.target, other, self.chance.choice(("both", "in", "out")))


class SlowLinks(CutZooKeeper):
    """Delayed where the kernel can (netem); else a share of the packets is lost, and TCP slow by its retries."""

    def strike(self):
        space = self.choose_replica().space
        if not space.delay(self.chance.choice((50, 200, 800))):
            for other in [n for n in self.lab.names() if n.startswith("zookeeper-") or n == "engine"]:
                space.lossy(self.lab.address(other), self.chance.choice((0.1, 0.3)))


class RestartZooKeeper(Nemesis):
    def strike(self):
        self.target = self.chance.choice([n for n in self.lab.names() if n.startswith("zookeeper-")])
        member = self.lab.service(self.target)
        member.kill() if self.chance.random() < 0.5 else member.stop()

    def mend(self):
        self.lab.start(self.target)


class StopAllZooKeeper(Nemesis):
    length_s = (5.0, 30.0)

    def strike(self):
        self.lab.zookeeper.kill()

    def mend(self):
        self.lab.zookeeper.start()


class RestartEngine(Nemesis):
    length_s = (0.1, 5.0)

    def strike(self):
        self.lab.engine.kill() if self.chance.random() < 0.5 else self.lab.engine.stop()

    def mend(self):
        self.lab.engine.start()


class ShiftClock(Nemesis):
    """A replica is started again with a wall clock that is off, within what is tolerated and far beyond; and then with
    the right one. The machine's own clock stays. Its monotonic clock is true, as after a step by an operator."""

    LIBRARY = "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1"

    @staticmethod
    def possible(lab):
        if not os.path.exists(ShiftClock.LIBRARY):
            return False
        linked = subprocess.run(["ldd", lab.facts["program"]], capture_output=True, text=True, check=False).stdout
        return "asan" not in linked  # that wants to be loaded first itself

    def strike(self):
        replica = self.choose_replica()
        replica.kill()
        replica.launch(LD_PRELOAD=self.LIBRARY, FAKETIME=self.chance.choice(("-3600s", "-10s", "-1s", "+1s", "+10s",
                                                                            "+3600s")),
                       FAKETIME_DONT_FAKE_MONOTONIC="1", DONT_FAKE_MONOTONIC="1")

    def mend(self):
        self.lab.replicas[self.target].kill()
        self.start_again()


class FillDisk(Nemesis):
    """A replica's data lie on a small file system of their own (see torment.py), which is filled to the last byte."""

    @staticmethod
    def possible(lab):
        return all(os.path.ismount(r.data) for r in lab.replicas.values())

    def strike(self):
        path = os.path.join(self.choose_replica().data, "ballast")
        with open(path, "wb", buffering=0) as f:
            try:
                while f.write(b"\0" * 65536):
                    pass
            except OSError:
                pass

    def mend(self):
        os.unlink(os.path.join(self.lab.replicas[self.target].data, "ballast"))
        self.start_again()


class PowerOffReplica(Nemesis):
    """Its machine: stopped, and every packet lost. It comes back as one that was started again."""

    def strike(self):
        self.choose_replica().pause()
        self.lab.unplug(self.target)

    def mend(self):
        self.lab.replicas[self.target].kill()
        self.lab.heal(self.target)
        self.start_again()


class RejectReplicas(CutZooKeeper):
    """A firewall between two replicas that resets every connection."""

    def strike(self):
        replica = self.choose_replica()
        replica.space.reject(self.lab.address(self.chance.choice([n for n in self.lab.replicas if n != self.target])))


class DualStackNames(Nemesis):
    """The replicas' names get an address where nobody listens."""

    length_s = (1.0, 20.0)

    def strike(self):
        self.lab.names_as("dual-stack")

    def mend(self):
        self.lab.names_as("plain")


class TwoEngines(Nemesis):
    """One replica reaches another engine under the same name. What it started there, if it came to lead, ends before it is
    turned to the right one: nobody else could ask for it."""

    length_s = (5.0, 25.0)

    def strike(self):
        self.choose_replica()
        self.lab.reach(self.target, SECOND)

    def mend(self):
        wait_for(lambda: self.lab.leader() not in (None, self.target), RECOVERED_S, "most to lead", every=0.5)
        if self.lab.second.api.containers(cronsched__run=None):
            quiet_for(SETTLE_S)
        self.lab.reach(self.target)


class RestoreZooKeeper(Nemesis):
    """ZooKeeper's data are put back as they were some time before; then somebody decides. Nobody may lead until then."""

    length_s = (2.0, 8.0)
    age_s = (5.0, 50.0)

    def strike(self):
        self.lab.zookeeper.backup()
        quiet_for(self.chance.uniform(*self.age_s))
        self.lab.zookeeper.restore()

    def sources(self):
        return [*self.lab.replicas, "tree"]

    def standing(self):
        views = [r.cli.call("cluster", "-o", "json", timeout=20) for r in self.lab.replicas.values()]
        return [v.json().get("standing") if v.code in (0, 5) and v.out else None for v in views]

    def mend(self):
        refuse = ["refusing"] * len(self.lab.replicas)
        wait_for(lambda: self.standing() == refuse, RECOVERED_S, lambda: f"all to refuse: {self.standing()}", every=0.5)
        source = self.chance.choice(self.sources())
        asked = self.lab.replicas.get(source) or next(iter(self.lab.replicas.values()))
        asked.cli.check("cluster", "recover", "--from", source, "--yes", timeout=scaled(90))
        self.target = f"from {source}"


class EmptyZooKeeper(RestoreZooKeeper):
    def strike(self):
        self.lab.zookeeper.empty()

    def sources(self):
        return list(self.lab.replicas)


ALL = (KillReplica, StopReplica, PauseReplica, CutZooKeeper, CutEngine, CutReplicas, SlowLinks, RestartZooKeeper,
       StopAllZooKeeper, RestartEngine, ShiftClock, FillDisk, PowerOffReplica, RejectReplicas, DualStackNames, TwoEngines,
       RestoreZooKeeper, EmptyZooKeeper)
FORGETTING = ("RestoreZooKeeper", "EmptyZooKeeper")  # the journal of their time is lost


def small_disks(lab, size="64m"):
    """Puts each replica's data, before it is started, on a file system of its own."""
    return [Tmpfs(os.path.join(lab.path, name, "data"), size) for name in lab.facts["replicas"]]


def wake_all(lab):
    """Whatever a nemesis was doing when it was cut short."""
    for replica in lab.replicas.values():
        if replica.pid:
            os.kill(replica.pid, signal.SIGCONT)
    lab.heal()
