#!/usr/bin/python3
"""Load balancers as the guide sets them up: its own text is what HAProxy and nginx are started with."""

import os
import re
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lab"))
import lab  # noqa: E402
from certificates import SecureSuite  # noqa: E402
from cluster_test import Cluster  # noqa: E402
from place import die_with_parent  # noqa: E402
from server import TOP  # noqa: E402
from zookeeper import free_ports  # noqa: E402

NGINX = """daemon off; pid {folder}/nginx.pid; error_log stderr warn; worker_processes 1;
events {{}}
http {{ access_log off; client_body_temp_path {folder}/b; proxy_temp_path {folder}/p; fastcgi_temp_path {folder}/f;
scgi_temp_path {folder}/s; uwsgi_temp_path {folder}/u;
{site} }}
"""


class Balancers(SecureSuite):
    def of_the_guide(self, language, changes):
        """The page's text in this language, with the names and ports of this test."""
        with open(os.path.join(TOP, "contrib", "guide", "load-balancers.md"), encoding="utf-8") as f:
            text, = re.findall(rf"^```{language}\n(.*?)^```$", f.read(), re.M | re.S)
        changes = {"/etc/cronsched": self.certs, "cron-1.example.com:7460": f"127.0.0.1:{self.cluster.ports[0]}",
                   "cron-2.example.com:7460": f"127.0.0.1:{self.cluster.ports[1]}", **changes}
        for old, new in changes.items():
            self.assertIn(old, text)
            text = text.replace(old, new)
        return text

    def launch(self, name, text, *command):
        path = self.folder.join(f"{name}.conf")
        with open(path, "w", encoding="utf-8") as f:
            f.write(text)
        with open(self.folder.join(f"{name}.log"), "wb") as log:
            process = subprocess.Popen([*command, path], stdout=log, stderr=log, preexec_fn=die_with_parent)
        self.addCleanup(self.end, process)

    def end(self, process):
        process.terminate()
        process.wait(10)

    def cli(self, port):
        return lab.Cli(f"https://127.0.0.1:{port}", {"CRONSCHED_CACERT": self.tls()["ca"]})

    def wait_through(self, port):
        lab.wait_for(lambda: self.cli(port).call("jobs").code == 0, 15, f"an answer through port {port}")

    def test_a_leader_dies_behind_them(self):
        c = self.cluster = Cluster(self, replicas=2, config={"tls": self.tls()})
        leader, standby = c.servers
        leader.apply({"j": {"command": ["/bin/true"], "concurrency": "allow"}})
        c.wait_fit(leader)
        any_port, leader_port, nginx_port = free_ports(3)
        haproxy = self.of_the_guide("haproxy", {"bind :7460": f"bind 127.0.0.1:{any_port}",
                                                "bind :7461": f"bind 127.0.0.1:{leader_port}"})
        site = self.of_the_guide("nginx", {"listen 443 ssl": f"listen 127.0.0.1:{nginx_port} ssl"})
        self.launch("haproxy", haproxy, "haproxy", "-db", "-f")
        self.launch("nginx", NGINX.format(folder=self.folder.path, site=site), "nginx", "-c")
        for port in (any_port, leader_port, nginx_port):
            self.wait_through(port)
        lab.wait_for(lambda: self.replica(leader_port) == "r0", 10, "the way to the leader")  # all are up at first
        leader.kill()
        runs = [self.cli(port).trigger("j") for port in (any_port, nginx_port) * 3]
        self.assertEqual(len(runs), len(set(runs)))
        for run in runs:
            self.assertEqual("succeeded", standby.cli.wait_end(run)["verdict"])
        lab.wait_for(lambda: self.replica(leader_port) == "r1", 10, "the way to the new leader")

    def replica(self, port):
        """Which one answers there."""
        return self.cli(port).cluster()["replica"]


if __name__ == "__main__":
    lab.main()
