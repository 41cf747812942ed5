"""A real Docker Swarm: three managers, so that one may go, and a worker, each an engine with namespaces and a name of its
own (node1 to node4), joined by a bridge. All of them run what is released.

    swarm = Swarm(folder)
    swarm.endpoints()                  # for a server's configuration
    swarm.nodes[0].kill(); .start()    # its dockerd; what runs on it goes on
    swarm.cut(3); swarm.heal(3)        # a node loses the others, and finds them again

No registry can be reached, and that is found at once: a node then uses the image that it has.
"""

import json
import os
import subprocess
import urllib.parse

from docker import IMAGE, Dockerd
from network import PREFIX, Network
from place import LabError, wait_for

FIRST_AT = 41  # last number of the first node's address
PORT = 2377


class Swarm:
    def __init__(self, folder, managers=3, workers=1, heartbeat_s=5, network=None, detached=False):
        """On a network of its own, or on that of others, who reach its managers over TCP then (urls)."""
        self.folder, self.nodes, self.managers, self.detached = str(folder), [], managers, detached
        self.network, self.own_network = network, not network
        os.makedirs(self.folder, exist_ok=True)
        try:
            if self.own_network:
                self.network = Network(os.path.join(self.folder, "network"))
            for number in range(managers + workers):
                self._add(number)
            self._form(heartbeat_s)
        except BaseException:
            self.close()
            raise

    @classmethod
    def attach(cls, folder, managers=3, workers=1):
        """One that another process made and left running, without its network."""
        swarm = cls.__new__(cls)
        swarm.folder, swarm.managers, swarm.network, swarm.own_network = str(folder), managers, None, False
        swarm.nodes = [Dockerd.attach(folder, f"n{i + 1}") for i in range(managers + workers)]
        return swarm

    def _add(self, number):
        def join(pid):
            self.network.join(f"node{number + 1}", FIRST_AT + number, pid)
            space = ["nsenter", "-t", str(pid), "-m", "-n"]
            subprocess.run([*space, "ip", "route", "add", "default", "dev", "eth0"], check=True)
            subprocess.run([*space, "mount", "--bind", resolver, "/etc/resolv.conf"], check=True)

        resolver = os.path.join(self.folder, "resolv.conf")
        with open(resolver, "w") as f:
            f.write("nameserver 127.0.0.1\n")
        listen = [] if self.own_network else [f"tcp://{PREFIX}{FIRST_AT + number}:2375"]
        self.nodes.append(Dockerd(self.folder, f"n{number + 1}", join=join, hostname=f"node{number + 1}", listen=listen,
                                  detached=self.detached))

    def _form(self, heartbeat_s):
        first = self._address(0)
        self.call("POST", "/swarm/init", {"ListenAddr": f"{first}:{PORT}", "AdvertiseAddr": first,
                                          "Spec": {"Dispatcher": {"HeartbeatPeriod": heartbeat_s * 10**9}}})
        tokens = self.call("GET", "/swarm")["JoinTokens"]
        for number in range(1, len(self.nodes)):
            address, token = self._address(number), tokens["Manager" if number < self.managers else "Worker"]
            self.call("POST", "/swarm/join", {"ListenAddr": f"{address}:{PORT}", "AdvertiseAddr": address,
                                              "RemoteAddrs": [f"{first}:{PORT}"], "JoinToken": token}, number)
        wait_for(lambda: self.ready() == len(self.nodes), 30, "all nodes to be ready")

    def _address(self, number):
        return self.network.spaces[f"node{number + 1}"].address

    def endpoints(self):
        return [node.endpoint for node in self.nodes[:self.managers]]

    def urls(self):
        return [f"http://{PREFIX}{FIRST_AT + number}:2375" for number in range(self.managers)]

    def engine(self, **keys):
        """The entry for `engines` in a server's configuration."""
        return {"type": "swarm", "endpoint": self.endpoints(), **keys}

    def call(self, method, path, body=None, number=0, timeout=60):
        """Through that node; whatever is not done is an error."""
        status, answer = self.nodes[number].api.call(method, path, body, timeout=timeout)
        if status >= 300:
            raise LabError(f"{method} {path}: {status} {answer}")
        return answer

    def list(self, kind, number=0, **filters):
        return self.call("GET", f"/{kind}?filters={urllib.parse.quote(json.dumps(filters))}", number=number)

    def node_list(self):
        """As the first manager that answers sees them."""
        for number in range(self.managers):
            try:
                return self.call("GET", "/nodes", number=number, timeout=5)
            except (OSError, LabError):
                pass
        return []

    def ready(self):
        return sum(n["Status"]["State"] == "ready" for n in self.node_list())

    def leader(self):
        """The number of the manager that leads; None while nobody does."""
        for node in self.node_list():
            if node.get("ManagerStatus", {}).get("Leader"):
                return int(node["Description"]["Hostname"][4:]) - 1
        return None

    def services(self, **labels):
        return self.list("services", label=[f"{k.replace('__', '.')}={v}" for k, v in labels.items()])

    def node_of(self, run):
        """The number of the node that has the task of this run."""
        for service in self.services(cronsched__run=run):
            for task in self.list("tasks", service=[service["ID"]]):
                for node in self.node_list():
                    if node["ID"] == task.get("NodeID"):
                        return int(node["Description"]["Hostname"][4:]) - 1
        return None

    def update_node(self, number, **spec):
        """Changes what a manager says of that node: Availability="drain", Labels={...}."""
        node = next(n for n in self.node_list() if n["Description"]["Hostname"] == f"node{number + 1}")
        self.call("POST", f"/nodes/{node['ID']}/update?version={node['Version']['Index']}", {**node["Spec"], **spec})

    def cut(self, number):
        self.network.spaces[f"node{number + 1}"].unplug()

    def heal(self, number):
        self.network.spaces[f"node{number + 1}"].plug()

    def close(self):
        for node in self.nodes:
            node.close()
        if self.network and self.own_network:
            self.network.close()


def swarm_job(ledger, body="true", **keys):
    """A job whose container writes to this ledger; all nodes are on this machine, so they share the folder."""
    return {"engine": "swarm", "image": IMAGE, "volumes": [f"{ledger.folder}:/ledger"],
            "command": ["sh", "-c", ledger.script("/ledger/lines", body)], **keys}
