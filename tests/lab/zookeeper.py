"""ZooKeeper servers of a test's own: one, or an ensemble on one machine, started as plain processes.

    zk = ZooKeeper(folder, servers=3).start()
    zk.connect                # "127.0.0.1:20123,127.0.0.1:20124,127.0.0.1:20125"
    zk.kill(zk.leader())      # as a crash would; start(i) brings it back with its data, and the sessions live on
    zk.close()                # ends all of them, by process id

Ports are free ones below the range that outgoing connections are given: so a server that is away for a while finds
its port again. Servers end with the process that started them, unless `detached`: then their ids are in
`server-N/zookeeper.pid`, and ZooKeeper.attach finds them again.
"""

import json
import os
import random
import shutil
import socket
import struct
import subprocess

from place import LabError, wait_for
from service import Service

JARS = "/usr/share/java"
CLASS_PATH = [f"{JARS}/{name}.jar" for name in ("zookeeper", "slf4j-log4j12", "log4j-1.2")]
MAIN = "org.apache.zookeeper.server.quorum.QuorumPeerMain"
TICK_MS = 500  # sessions between 2 and 20 of these
START_SECONDS = 90  # a loaded machine

# One server that enforces quotas, takes no request above 100 KB, and may be reconfigured by anybody.
SMALL = {
    "servers": 1,
    "java": ["-Dzookeeper.enforceQuota=true", "-Djute.maxbuffer=102400", "-Dzookeeper.skipACL=yes"],
    "settings": ["standaloneEnabled=false", "reconfigEnabled=true"],
}

LOGGING = """log4j.rootLogger=INFO, OUT
log4j.appender.OUT=org.apache.log4j.ConsoleAppender
log4j.appender.OUT.layout=org.apache.log4j.PatternLayout
log4j.appender.OUT.layout.ConversionPattern=%d{ISO8601} %-5p [%t] %m%n
"""


def why_no_zookeeper():
    """None, or why no server can be started on this machine."""
    if not shutil.which("java"):
        return "java is not installed"
    missing = [p for p in CLASS_PATH if not os.path.exists(p)]
    return f"{missing[0]} is missing: install libzookeeper-java" if missing else None


def free_ports(count, address="127.0.0.1"):
    """Ports that nothing listens at and that no outgoing connection will be given."""
    held = []
    try:
        while len(held) < count:
            s = socket.socket()
            held.append(s)
            for _ in range(1000):
                try:
                    s.bind((address, random.randrange(20000, 32000)))
                    break
                except OSError:
                    continue
            else:
                raise LabError("no port is free")
        return [s.getsockname()[1] for s in held]
    finally:
        for s in held:
            s.close()


def ask(address, port, word, seconds=2):
    """The answer to one of ZooKeeper's four-letter words; "" when there is none."""
    try:
        with socket.create_connection((address, port), timeout=seconds) as s:
            s.settimeout(seconds)
            s.sendall(word.encode())
            answer = b""
            while more := s.recv(65536):
                answer += more
            return answer.decode(errors="replace")
    except OSError:
        return ""


def _text(value):
    data = value.encode()
    return struct.pack(">i", len(data)) + data


def write(member, path, data, create=False):
    """Makes or replaces a node, open to anybody. Returns ZooKeeper's result code."""
    open_to_all = struct.pack(">ii", 1, 31) + _text("world") + _text("anyone")
    if create:
        request = struct.pack(">ii", 1, 1) + _text(path) + _text(data) + open_to_all + struct.pack(">i", 0)
    else:
        request = struct.pack(">ii", 1, 5) + _text(path) + _text(data) + struct.pack(">i", -1)
    hello = struct.pack(">iqiq", 0, 0, 4000, 0) + struct.pack(">i", 16) + bytes(16)
    with socket.create_connection((member.address, member.port), timeout=10) as s, s.makefile("rb") as answers:
        for packet in (hello, request):
            s.sendall(struct.pack(">i", len(packet)) + packet)
            size, = struct.unpack(">i", answers.read(4))
            answer = answers.read(size)
        return struct.unpack(">iqi", answer[:16])[2]


class Member(Service):
    """One server. `prefix` is a command to start it with, as ["nsenter", "--net=/proc/PID/ns/net"]; `java` are more
    options for the virtual machine, `settings` more lines of zoo.cfg."""

    def __init__(self, path, number, address, ports, detached=False, prefix=(), java=(), settings=()):
        super().__init__(path, "zookeeper", detached)
        self.number, self.address, self.prefix = number, address, list(prefix)
        self.java, self.settings = list(java), list(settings)
        self.port, self.quorum_port, self.election_port = ports

    @property
    def connect(self):
        return f"{self.address}:{self.port}"

    def prepare(self, peers):
        """Writes its files; its data, if there are any, stay."""
        os.makedirs(self.file("data"), exist_ok=True)
        config = [f"tickTime={TICK_MS}", "initLimit=20", "syncLimit=8", f"dataDir={self.path}/data",
                  f"clientPort={self.port}", f"clientPortAddress={self.address}", "admin.enableServer=false",
                  "4lw.commands.whitelist=*", "maxClientCnxns=0"]
        config += self.settings
        if len(peers) > 1 or "standaloneEnabled=false" in self.settings:
            config += [f"server.{p.number}={p.address}:{p.quorum_port}:{p.election_port}" for p in peers]
        for name, text in (("zoo.cfg", "\n".join(config) + "\n"), ("log4j.properties", LOGGING),
                           ("data/myid", f"{self.number}\n")):
            with open(self.file(name), "w") as f:
                f.write(text)

    @property
    def command(self):
        class_path = ":".join([self.path, *CLASS_PATH])
        return [*self.prefix, "java", "-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", *self.java,
                "-cp", class_path, MAIN, f"{self.path}/zoo.cfg"]

    def mode(self):
        """"leader", "follower", "standalone", or None: it serves nobody."""
        for line in ask(self.address, self.port, "srvr").splitlines():
            if line.startswith("Mode: "):
                return line[6:]
        return None

    def backup(self):
        """A copy of its data, which replaces the one before; it may serve meanwhile, as ZooKeeper's manual has it."""
        shutil.rmtree(self.file("backup"), ignore_errors=True)
        subprocess.run(["cp", "-a", "--sparse=always", self.file("data"), self.file("backup")], check=True)

    def restore(self):
        """The copy in place of its data; it must not run."""
        shutil.rmtree(self.file("data"))
        subprocess.run(["cp", "-a", "--sparse=always", self.file("backup"), self.file("data")], check=True)

    def up(self):
        if not self.pid:
            raise LabError(f"ZooKeeper server {self.number} ended: {self.log_tail()}")
        return self.mode()


class ZooKeeper:
    """An ensemble below a folder (a place.Folder or a path). Members are counted from 0."""

    def __init__(self, folder, servers=1, addresses=None, detached=False, prefixes=None, name="zookeeper", java=(),
                 settings=()):
        path = os.path.join(str(folder), name)
        os.makedirs(path, exist_ok=True)
        addresses = addresses or ["127.0.0.1"] * servers
        ports = [] if prefixes else free_ports(3 * servers)
        self.members = []
        for i in range(servers):
            own = ports[3 * i:3 * i + 3] or [2181, 2888, 3888]  # in a namespace of its own nobody is in the way
            self.members.append(Member(os.path.join(path, f"server-{i}"), i + 1, addresses[i], own, detached,
                                       prefixes[i] if prefixes else (), java, settings))
        for member in self.members:
            member.prepare(self.members)
        with open(os.path.join(path, "members.json"), "w") as f:
            json.dump([[m.path, m.number, m.address, [m.port, m.quorum_port, m.election_port], m.detached, m.prefix,
                        m.java, m.settings]
                       for m in self.members], f)

    @classmethod
    def attach(cls, folder, name="zookeeper"):
        """An ensemble that another process made, and perhaps left running."""
        zk = cls.__new__(cls)
        with open(os.path.join(str(folder), name, "members.json")) as f:
            zk.members = [Member(*fields) for fields in json.load(f)]
        return zk

    @property
    def connect(self):
        return ",".join(m.connect for m in self.members)

    def start(self, *which):
        """Starts these members, or all, and waits until they serve."""
        which = which or range(len(self.members))
        try:
            for i in which:
                if not self.members[i].pid:
                    self.members[i].spawn(self.members[i].command)
            self.wait_up(*which)
        except BaseException:
            self.close()
            raise
        return self

    def wait_up(self, *which):
        for i in which or range(len(self.members)):
            member = self.members[i]
            wait_for(member.up, START_SECONDS,
                     lambda m=member: f"ZooKeeper server {m.number}: {m.log_tail()}")

    def leader(self):
        """The number of the ensemble's leader; waits for one."""
        def find():
            modes = [m.mode() if m.pid else None for m in self.members]
            found = [i for i, mode in enumerate(modes) if mode in ("leader", "standalone")]
            return [found[0]] if found else None
        return wait_for(find, START_SECONDS, "a leader of the ensemble")[0]

    def kill(self, *which):
        """SIGKILL to these, or all."""
        for i in which or range(len(self.members)):
            self.members[i].kill()

    def stop(self, *which):
        for i in which or range(len(self.members)):
            self.members[i].stop()

    def backup(self):
        for member in self.members:
            member.backup()

    def restore(self):
        """The backup is what it holds; what came after is gone."""
        self.kill()
        for member in self.members:
            member.restore()
        self.start()

    def empty(self):
        """It holds nothing."""
        self.kill()
        for member in self.members:
            shutil.rmtree(member.file("data"))
            member.prepare(self.members)
        self.start()

    def pause(self, i):
        self.members[i].pause()

    def resume(self, i):
        self.members[i].resume()

    def close(self):
        for member in self.members:
            member.kill()
