#!/usr/bin/python3
"""A whole cluster on one machine: three ZooKeeper servers, three replicas, a Docker Engine, each in a network namespace
of its own on one bridge, so that every link can be cut. contrib/lab is its command; tests use the class.

usage: contrib/lab up [DIR] [--replicas N] [--session-timeout D] [--swarm]   starts it; DIR is build-lab/stand
       contrib/lab down [DIR] [--keep]         ends all of it, and removes DIR unless it is to be kept
       contrib/lab status [DIR]                who runs, who leads
       contrib/lab start|stop|kill|pause|resume|restart DIR NAME...     r1, zookeeper-2, engine
       contrib/lab cut DIR NAME OTHER [in|out|both]     what NAME sends to OTHER is lost (out), what comes from it (in)
       contrib/lab unplug DIR NAME             every packet from it and to it is lost
       contrib/lab heal DIR [NAME]...
       contrib/lab backup|restore|empty DIR    the data of the ZooKeeper servers: copied; put back; gone
       contrib/lab reach DIR NAME engine|engine-2      which Docker Engine replica NAME has as `docker`; restarts it
       contrib/lab names DIR plain|dual-stack  the replicas' names; dual-stack: with an address where nobody listens
       contrib/lab storm ...                   a lab of its own under random faults, and a verdict: storm --help

DIR/lab.json names everything: process ids (in files, since they change), sockets, addresses, folders.
"""

import argparse
import json
import os
import shutil
import sys
import time
import uuid

from docker import IMAGE, Dockerd, DockerApi, why_no_docker
from network import PREFIX, PREFIX_6, Network
from place import LabError, alive, command_of, kill_process, wait_for
from server import SANITIZER, Cli, binary
from service import Service, children
from swarm import Swarm
from zookeeper import ZooKeeper, why_no_zookeeper

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
READY_S = 90
PATH_MAX = 80  # sockets below it have to fit into 107 bytes
ZOOKEEPER_AT, REPLICA_AT, ENGINE_AT = 11, 21, 31  # last numbers of addresses
SECOND = "engine-2"  # started when a replica is to reach it
RESET_S = 0.6  # each side of a link sends something within a heartbeat
WITH_HOSTS = 'mount --bind "$0" /etc/hosts && exec "$@"'


class Replica(Service):
    """DIR/r1: its configuration, its log, its id; DIR/r1/data: what it keeps. It has a mount namespace of its own, where
    /etc/hosts is the lab's."""

    def __init__(self, path, space, config, program, hosts, environment=None, detached=False):
        super().__init__(path, "serve", detached)
        self.hosts = hosts
        self.id, self.space, self.config, self.program = os.path.basename(path), space, config, program
        self.environment = environment or {}
        self.log_seen = 0

    @property
    def data(self):
        return self.config["data_dir"]

    @property
    def socket(self):
        return os.path.join(self.data, "cronsched.sock")

    @property
    def cli(self):
        return Cli(f"unix:{self.socket}")

    @property
    def command(self):
        return [*self.space.prefix, "unshare", "--mount", "sh", "-c", WITH_HOSTS, self.hosts, self.program, "serve",
                "--config", self.file("config.yaml")]

    def launch(self, **environment):
        """Starts it and does not wait."""
        if self.pid:
            raise LabError(f"{self.id} runs already")
        os.makedirs(self.data, exist_ok=True)
        with open(self.file("config.yaml"), "w") as f:
            json.dump(self.config, f, indent=1)  # JSON is YAML
        self.spawn(self.command, env={**os.environ, **self.environment, **environment})

    def start(self, **environment):
        self.launch(**environment)
        return self.wait_ready()

    def wait_ready(self, seconds=READY_S):
        def up():
            if not self.pid:
                raise LabError(f"{self.id} ended: {self.log_tail()}")
            return self.ready()

        wait_for(up, seconds, lambda: f"{self.id} to be ready: {self.log_tail()}")
        return self

    def ready(self):
        try:
            return DockerApi(self.socket).call("GET", "/readyz", timeout=2)[0] == 200
        except OSError:
            return False

    def sanitizer_words(self):
        """What a sanitizer has said since it was last asked."""
        text = self.log()
        found = SANITIZER.search(text, self.log_seen)
        self.log_seen = len(text)
        return text[found.start():found.start() + 6000] if found else ""


class Cluster:
    def __init__(self, path, replicas=3, zookeepers=3, session_timeout="10s", environment=None, config=None,
                 detached=False, before_start=None, swarm=False):
        path = os.path.abspath(str(path))
        if len(path) > PATH_MAX:
            raise LabError(f"{path} is too long a path for sockets")
        why = why_no_docker() or why_no_zookeeper()
        if why:
            raise LabError(why)
        os.makedirs(path, exist_ok=True)
        self.path, self.detached = path, detached
        self.facts = {"folder": path, "replicas": [f"r{i + 1}" for i in range(replicas)], "zookeepers": zookeepers,
                      "session_timeout": session_timeout, "environment": environment or {}, "config": config or {},
                      "cluster_id": str(uuid.uuid4()), "program": binary()}
        self.facts["swarm"] = swarm  # a Docker Swarm, as the engine `swarm`
        self.facts["reach"] = {}  # by replica, where that is not the engine of all
        self.network = self.engine = self.second = self.swarm = self.zookeeper = None
        self.replicas = {}
        self.before_start = before_start  # called with the lab when all but the replicas runs
        try:
            self._up()
        except BaseException:
            self.close()
            raise

    def file(self, name):
        return os.path.join(self.path, name)

    @classmethod
    def attach(cls, path):
        """One that another process made and left running; this thread enters its network."""
        lab = cls.__new__(cls)
        lab.path, lab.detached, lab.replicas = os.path.abspath(path), True, {}
        try:
            with open(lab.file("lab.json")) as f:
                lab.facts = json.load(f)["facts"]
        except OSError as e:
            raise LabError(f"no lab in {path}: {e.strerror}") from e
        lab.network = Network.attach(lab.file("network"), lab._numbers())
        lab.engine = Dockerd.attach(lab.path, "engine", [lab._engine_url("tcp")])
        lab.second = lab._second_of_another()
        lab.swarm = Swarm.attach(lab.file("swarm")) if lab.facts.get("swarm") else None
        lab.zookeeper = ZooKeeper.attach(lab.path)
        for member in lab.zookeeper.members:
            member.detached = True  # what is started again from here outlives this process
        if lab.network.hub.pid:
            lab.network.enter()
            lab._make_replicas()
        return lab

    def _numbers(self):
        return {**{f"zookeeper-{i + 1}": ZOOKEEPER_AT + i for i in range(self.facts["zookeepers"])},
                **{name: REPLICA_AT + i for i, name in enumerate(self.facts["replicas"])}}

    @staticmethod
    def _engine_url(scheme, engine="engine"):
        return f"{scheme}://{PREFIX}{ENGINE_AT + (engine == SECOND)}:2375"

    def _up(self):
        self.network = Network(self.file("network"), self.detached)
        spaces = [self.network.add(name, number) for name, number in self._numbers().items()]
        self.network.enter()
        keepers = spaces[:self.facts["zookeepers"]]
        self.zookeeper = ZooKeeper(self.path, len(keepers), [s.address for s in keepers], self.detached,
                                   [s.prefix for s in keepers])
        for member in self.zookeeper.members:
            member.spawn(member.command)  # they and the engine come up side by side
        self.engine = Dockerd(self.path, "engine", detached=self.detached, listen=[self._engine_url("tcp")],
                              join=lambda pid: self.network.join("engine", ENGINE_AT, pid))
        if self.facts["swarm"]:
            self.swarm = Swarm(self.file("swarm"), network=self.network, detached=self.detached)
        self.zookeeper.wait_up()
        self.write_hosts()
        self._make_replicas()
        self._write()
        if self.before_start:
            self.before_start(self)
        for replica in self.replicas.values():
            replica.launch()
        for replica in self.replicas.values():
            replica.wait_ready()

    def write_hosts(self, dual_stack=False):
        """The names of the replicas. Dual-stack: each has an IPv6 address first, of its own, at which nobody listens."""
        lines = ["127.0.0.1 localhost", "::1 localhost"]
        for name in self.facts["replicas"]:
            space = self.network.spaces[name]
            number = space.address.removeprefix(PREFIX)
            lines += [f"{PREFIX_6}{number} {name}.lab"] * dual_stack + [f"{space.address} {name}.lab"]
        with open(self.file("hosts"), "w") as f:  # the same file: it is mounted
            f.write("\n".join(lines) + "\n")

    def _second_of_another(self):
        """The second engine, if another process has started it."""
        if not os.path.isdir(self.file(SECOND)):
            return None
        return Dockerd.attach(self.path, SECOND, [self._engine_url("tcp", SECOND)])

    def _docker_of(self, name):
        return self._engine_url("http", self.facts["reach"].get(name, "engine"))

    def _make_replicas(self):
        for name in self.facts["replicas"]:
            path, space = self.file(name), self.network.spaces[name]
            config = {
                "cluster": "lab", "replica": name, "data_dir": os.path.join(path, "data"),
                "listen": [f"unix:{path}/data/cronsched.sock", f"{space.address}:7460"],
                "advertise": f"http://{name}.lab:7460", "insecure": True,
                "cluster_id": self.facts["cluster_id"], "init": name == self.facts["replicas"][0],
                "zookeeper": self.zookeeper.connect, "session_timeout": self.facts["session_timeout"],
                "engines": {"docker": {"type": "docker", "endpoint": self._docker_of(name)}, "process": {"type": "process"},
                            "null": {"type": "null"}},
                "default_engine": "docker", "log": "json", **self.facts["config"]}
            if self.swarm:
                config["engines"]["swarm"] = {"type": "swarm", "endpoint": self.swarm.urls()}
            environment = {"UBSAN_OPTIONS": "print_stacktrace=1:halt_on_error=1",
                           "ASAN_OPTIONS": "abort_on_error=1:detect_leaks=0", **self.facts["environment"]}
            self.replicas[name] = Replica(path, space, config, self.facts["program"], self.file("hosts"), environment,
                                          self.detached)

    @property
    def servers(self):
        return ",".join(f"unix:{r.socket}" for r in self.replicas.values())

    @property
    def cli(self):
        return Cli(self.servers)

    @property
    def ledger_folder(self):
        path = self.file("ledger")
        if not os.path.isdir(path):
            os.makedirs(path)
            os.chmod(path, 0o777)
        return path

    def _write(self):
        """lab.json: for `cronsched drill`, and for attach()."""
        told = {
            "servers": self.servers, "session_timeout": self.facts["session_timeout"], "image": IMAGE,
            "ledger": self.ledger_folder, "lab": [sys.executable, os.path.abspath(__file__)],
            "engine": {"address": PREFIX + str(ENGINE_AT), "socket": self.engine.socket,
                       "pid_file": self.engine.dockerd.pid_file},
            "zookeeper": [{"name": f"zookeeper-{m.number}", "connect": m.connect, "pid_file": m.pid_file,
                           "log": m.log_path, "start": m.command} for m in self.zookeeper.members],
            "replicas": [{"id": r.id, "socket": r.socket, "url": r.config["advertise"], "folder": r.path,
                          "pid_file": r.pid_file, "log": r.log_path, "start": r.command}
                         for r in self.replicas.values()],
            "facts": self.facts}
        with open(self.file("lab.json.new"), "w") as f:
            json.dump(told, f, indent=1)
        os.rename(f.name, self.file("lab.json"))

    # --- names: r1, zookeeper-2, engine

    def names(self):
        return [*self.replicas, *(f"zookeeper-{m.number}" for m in self.zookeeper.members), "engine"]

    def service(self, name):
        if name in self.replicas:
            return self.replicas[name]
        if name == "engine":
            return self.engine
        if name in self.names():
            return self.zookeeper.members[int(name.rpartition("-")[2]) - 1]
        raise LabError(f"nothing here is called {name}; there are {', '.join(self.names())}")

    def address(self, name):
        self.service(name)
        return f"{PREFIX}{ENGINE_AT}" if name == "engine" else self.network.spaces[name].address

    def start(self, *names):
        """Starts them again and waits until they serve: ZooKeeper servers together, since one alone has no quorum."""
        members = [self.zookeeper.members.index(self.service(n)) for n in names if n.startswith("zookeeper-")]
        if members:
            self.zookeeper.start(*members)
        for name in names:
            if not name.startswith("zookeeper-"):
                self.service(name).start()

    def cut(self, name, other, direction="both"):
        """`name` is a replica or a ZooKeeper server; `other` any of them, the engine, or all ZooKeeper servers."""
        others = [n for n in self.names() if n.startswith("zookeeper-")] if other == "zookeeper" else [other]
        for each in others:
            self.network.spaces[name].cut(self.address(each), direction)

    def heal(self, *names):
        for name in names or self.network.spaces:
            if not name.startswith(("engine", "node")):  # whose rules are dockerd's
                self.network.spaces[name].heal()

    def unplug(self, name):
        self.network.spaces[name].unplug()

    def reach(self, name, engine="engine"):
        """The replica is restarted, with that engine under the name `docker`: as if both machines had their own."""
        if engine == SECOND and not self.second:
            self.second = Dockerd(self.path, SECOND, detached=self.detached, listen=[self._engine_url("tcp", SECOND)],
                                  join=lambda pid: self.network.join(SECOND, ENGINE_AT + 1, pid))
        self.facts["reach"][name] = engine
        self._write()
        replica = self.replicas[name]
        replica.config["engines"]["docker"]["endpoint"] = self._docker_of(name)
        replica.stop()
        replica.start()

    def names_as(self, kind):
        """What the replicas' names lead to from now on, and every link between two of them is made again."""
        self.write_hosts(dual_stack=kind == "dual-stack")
        spaces = [self.network.spaces[name] for name in self.replicas]
        for space in spaces:
            for other in spaces:
                if other is not space:
                    space.reject(other.address)
        time.sleep(RESET_S)
        for space in spaces:
            space.heal()

    # --- the state of things

    def view(self):
        """The answer of `cluster`, of whoever answers; {} when nobody does."""
        answer = self.cli.call("cluster", "-o", "json", timeout=20)
        return answer.json() if answer.code in (0, 5) and answer.out else {}  # 5: it takes part in nothing

    def leader(self):
        """The id of the leader, by the word of those that run; None when there is none."""
        return ((self.view().get("leader") or {}).get("id")) or None

    def wait_leader(self, other_than=None, seconds=60):
        def found():
            leader = self.leader()
            return leader if leader and leader != other_than else None

        return wait_for(found, seconds, lambda: f"a leader other than {other_than}: {self.view()}", every=0.1)

    def close(self):
        for replica in self.replicas.values():
            pid = replica.pid
            if pid:
                replica.resume()
                replica.kill()
        for pid in supervisors_of(self.path, self.facts["program"]):
            kill_process(pid)
        for part in (self.swarm, self.engine, self.second or self._second_of_another(), self.zookeeper, self.network):
            if part:
                part.close()


def supervisors_of(path, program):
    """The supervisors of process attempts that a lab has left behind, and what runs under them."""
    found = []
    for pid in [int(p) for p in os.listdir("/proc") if p.isdigit()]:
        try:
            mine = os.readlink(f"/proc/{pid}/exe") == program and path in command_of(pid) and pid != os.getpid()
        except OSError:
            continue
        if mine and alive(pid):
            found += [pid, *children(pid)]
    return found


# --- the command


def up(args):
    lab_file = os.path.join(args.dir, "lab.json")
    if os.path.exists(args.dir) and os.listdir(args.dir):
        runs = os.path.exists(lab_file) and Cluster.attach(args.dir).network.hub.pid
        raise LabError(f"a lab runs in {args.dir}" if runs else f"{args.dir} is not empty; contrib/lab down {args.dir}")
    lab = Cluster(args.dir, args.replicas, session_timeout=args.session_timeout, detached=True, swarm=args.swarm)
    more = ", a Docker Engine and a Docker Swarm of four" if args.swarm else " and a Docker Engine"
    print(f"""three ZooKeeper servers, {args.replicas} replicas{more} run in {lab.path}

  export CRONSCHED_SERVER={lab.servers}
  cronsched cluster
  cronsched drill kill-leader --lab {lab.path}
  contrib/lab down {lab.path}""")


def down(args):
    lab = Cluster.attach(args.dir)
    if not lab.replicas:  # the network is gone, and with it the way to name them; the files are enough to end them
        for name in lab.facts["replicas"]:
            Service(lab.file(name), "serve", True).kill()
    lab.close()
    if not args.keep:
        shutil.rmtree(args.dir, ignore_errors=True)


def status(args):
    lab = Cluster.attach(args.dir)
    roles = {r["id"]: r.get("role") for r in (lab.view().get("replicas", []) if lab.replicas else [])}
    roles.update({f"zookeeper-{m.number}": m.mode() for m in lab.zookeeper.members if m.pid})
    if lab.engine.pid:
        roles["engine"] = "answers" if lab.engine.api.reachable() else "does not answer"
    rows = [(n, lab.service(n).pid, roles.get(n)) for n in lab.names()]
    for name, pid, role in rows:
        print(f"{name:<14} {pid or '-':>8}  {role or '-' if pid else 'down'}")
    return 0 if all(pid for _, pid, _ in rows) else 1


def act(args):
    lab = Cluster.attach(args.dir)
    if args.verb == "start":
        lab.start(*args.names)
        return
    for name in args.names:
        if args.verb == "restart":
            lab.service(name).stop()
            lab.start(name)
        else:
            getattr(lab.service(name), args.verb)()


def cut(args):
    Cluster.attach(args.dir).cut(args.name, args.other, args.direction)


def unplug(args):
    Cluster.attach(args.dir).unplug(args.name)


def store(args):
    getattr(Cluster.attach(args.dir).zookeeper, args.verb)()


def reach(args):
    Cluster.attach(args.dir).reach(args.name, args.engine)


def names(args):
    Cluster.attach(args.dir).names_as(args.kind)


def heal(args):
    Cluster.attach(args.dir).heal(*args.names)


def main():
    parser = argparse.ArgumentParser(prog="contrib/lab", usage=__doc__.partition("usage: ")[2].partition("\n\n")[0])
    verbs = parser.add_subparsers(dest="verb", required=True)
    stand = os.path.join(TOP, "build-lab", "stand")
    for name, function in (("up", up), ("down", down), ("status", status)):
        verb = verbs.add_parser(name)
        verb.add_argument("dir", nargs="?", default=stand, type=os.path.abspath)
        verb.set_defaults(function=function)
        if name == "up":
            verb.add_argument("--replicas", type=int, default=3, choices=range(1, 8))
            verb.add_argument("--session-timeout", default="10s")
            verb.add_argument("--swarm", action="store_true")
        if name == "down":
            verb.add_argument("--keep", action="store_true")
    for name in ("start", "stop", "kill", "pause", "resume", "restart", "heal"):
        verb = verbs.add_parser(name)
        verb.add_argument("dir", type=os.path.abspath)
        verb.add_argument("names", nargs="*" if name == "heal" else "+")
        verb.set_defaults(function=heal if name == "heal" else act)
    verb = verbs.add_parser("cut")
    verb.add_argument("dir", type=os.path.abspath)
    verb.add_argument("name")
    verb.add_argument("other")
    verb.add_argument("direction", nargs="?", default="both", choices=("in", "out", "both"))
    verb.set_defaults(function=cut)
    for name in ("backup", "restore", "empty"):
        verb = verbs.add_parser(name)
        verb.add_argument("dir", type=os.path.abspath)
        verb.set_defaults(function=store)
    for name, function, words, choices in (("unplug", unplug, ("name",), {}),
                                           ("reach", reach, ("name", "engine"), {"engine": ("engine", SECOND)}),
                                           ("names", names, ("kind",), {"kind": ("plain", "dual-stack")})):
        verb = verbs.add_parser(name)
        verb.add_argument("dir", type=os.path.abspath)
        for word in words:
            verb.add_argument(word, choices=choices.get(word))
        verb.set_defaults(function=function)
    args = parser.parse_args()
    try:
        return args.function(args) or 0
    except LabError as e:
        print(f"contrib/lab: {e}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
