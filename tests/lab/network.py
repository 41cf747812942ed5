"""Network namespaces that are joined by a bridge, so that a link between two of them can be cut, one direction or both.

    net = Network(path)
    web = net.add("web", 11)          # 10.77.0.11, in a namespace of its own
    Popen([*web.prefix, "server"])    # a program in it; the same process id
    net.enter()                       # this thread too: it reaches all of them
    web.cut("10.77.0.12", "out")      # what web sends to that address is lost
    web.heal()

Each namespace lives as long as a process of its own, which close() ends. Nothing reaches the machine's own network.
"""

import ctypes
import os
import subprocess

from place import LabError, wait_for
from service import Service

PREFIX = "10.77.0."
PREFIX_6 = "fd77::"
CLONE_NEWNET = 0x40000000


def run(*command):
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise LabError(f"{' '.join(command)}: {done.stderr.strip()}")
    return done.stdout


class Namespace:
    def __init__(self, name, address, pid):
        self.name, self.address, self.pid = name, address, pid

    @property
    def prefix(self):
        """The command that enters it; only its network, so that /sys and the mounts stay."""
        return ["nsenter", f"--net=/proc/{self.pid}/ns/net"]

    def run(self, *command):
        return run(*self.prefix, *command)

    def cut(self, address, direction="both"):
        """Loses what goes to the address ("out"), what comes from it ("in"), or both, without a word to either end."""
        if direction != "in":
            self.run("iptables", "-w", "-A", "OUTPUT", "-d", address, "-j", "DROP")
        if direction != "out":
            self.run("iptables", "-w", "-A", "INPUT", "-s", address, "-j", "DROP")

    def unplug(self):
        """Loses whatever it sends and whatever comes, as a machine without power does; heal() plugs it in again."""
        for chain, word in (("OUTPUT", "-o"), ("INPUT", "-i")):
            self.run("iptables", "-w", "-I", chain, word, "eth0", "-j", "DROP")

    def reject(self, address):
        """Every connection between it and the address, standing or new, is reset: a firewall that rejects."""
        for chain, word in (("OUTPUT", "-d"), ("INPUT", "-s")):
            self.run("iptables", "-w", "-A", chain, "-p", "tcp", word, address, "-j", "REJECT", "--reject-with",
                     "tcp-reset")

    def lossy(self, address, share):
        """Loses that share of the packets, both ways: TCP becomes slow by seconds, and does not break."""
        for chain, word in (("OUTPUT", "-d"), ("INPUT", "-s")):
            self.run("iptables", "-w", "-A", chain, word, address, "-m", "statistic", "--mode", "random",
                     "--probability", str(share), "-j", "DROP")

    def delay(self, ms):
        """All that it sends is late by so much. False where the kernel cannot."""
        try:
            self.run("tc", "qdisc", "replace", "dev", "eth0", "root", "netem", "delay", f"{ms}ms", f"{ms // 4}ms")
        except LabError:
            return False
        return True

    def plug(self):
        """After unplug(), where other rules of the firewall have to stay: a container engine's own."""
        for chain, word in (("OUTPUT", "-o"), ("INPUT", "-i")):
            self.run("iptables", "-w", "-D", chain, word, "eth0", "-j", "DROP")

    def heal(self):
        self.run("iptables", "-w", "-F")
        if "netem" in self.run("tc", "qdisc", "show", "dev", "eth0"):
            self.run("tc", "qdisc", "del", "dev", "eth0", "root")


class Network:
    def __init__(self, path, detached=False):
        self.path, self.detached = path, detached
        self.spaces, self.holders = {}, []
        self.hub = self._hold("hub", PREFIX + "1")
        self.hub.run("ip", "link", "add", "br0", "type", "bridge")
        self.hub.run("ip", "addr", "add", self.hub.address + "/24", "dev", "br0")
        self.hub.run("ip", "link", "set", "br0", "up")

    @classmethod
    def attach(cls, path, addresses):
        """One that another process made: {name: last number of the address}."""
        net = cls.__new__(cls)
        net.path, net.detached, net.spaces, net.holders = path, True, {}, []
        net.hub = net._found("hub", PREFIX + "1")
        for name, number in addresses.items():
            net.spaces[name] = net._found(name, f"{PREFIX}{number}")
        return net

    def _found(self, name, address):
        holder = Service(self.path, name, self.detached)
        self.holders.append(holder)
        return Namespace(name, address, holder.pid)

    def _hold(self, name, address):
        """A namespace, kept by a process that does nothing."""
        holder = Service(self.path, name, self.detached)
        holder.spawn(["unshare", "--net", "tail", "-f", holder.log_path])
        self.holders.append(holder)
        own = os.readlink("/proc/self/ns/net")

        def apart():
            if not holder.pid:
                raise LabError(f"cannot make a network namespace: {holder.log_tail()}")
            return os.readlink(f"/proc/{holder.pid}/ns/net") != own

        wait_for(apart, 20, "a network namespace", every=0.005)
        return Namespace(name, address, holder.pid)

    def add(self, name, number):
        space = self._hold(name, f"{PREFIX}{number}")
        return self.join(name, number, space.pid)

    def join(self, name, number, pid):
        """Puts the namespace of a process that is there already on the bridge."""
        space = Namespace(name, f"{PREFIX}{number}", pid)
        port = f"v{number}"
        self.hub.run("ip", "link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", str(pid))
        self.hub.run("ip", "link", "set", port, "master", "br0", "up")
        space.run("ip", "addr", "add", space.address + "/24", "dev", "eth0")
        space.run("ip", "-6", "addr", "add", f"{PREFIX_6}{number}/64", "dev", "eth0", "nodad")
        for device in ("lo", "eth0"):
            space.run("ip", "link", "set", device, "up")
        self.spaces[name] = space
        return space

    def enter(self):
        """Moves this thread, and what it starts from now on, to where everybody can be reached."""
        with open(f"/proc/{self.hub.pid}/ns/net") as f:
            if ctypes.CDLL(None, use_errno=True).setns(f.fileno(), CLONE_NEWNET) != 0:
                raise LabError(f"cannot enter a network namespace: {os.strerror(ctypes.get_errno())}")

    def close(self):
        for holder in reversed(self.holders):
            holder.kill()
