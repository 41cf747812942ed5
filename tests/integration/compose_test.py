#!/usr/bin/python3
"""contrib/compose by Compose itself, in an engine of its own: one command brings the stack up, with tokens, certificates and
passwords made there; a job runs; a replica is killed, and the next one goes on. Only the image of ZooKeeper is a stand-in: it
runs Debian's, since nothing is pulled here."""

import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lab"))
import lab  # noqa: E402
from docker import Dockerd, why_no_docker  # noqa: E402
from server import TOP, binary  # noqa: E402
from zookeeper import CLASS_PATH, why_no_zookeeper  # noqa: E402

ZOOKEEPER = f"""#!/bin/sh
set -e
echo "$ZOO_MY_ID" >/data/myid
printf '%s\\n' tickTime=2000 initLimit=10 syncLimit=5 dataDir=/data dataLogDir=/datalog standaloneEnabled=false \\
    admin.enableServer=false reconfigEnabled=false $ZOO_SERVERS >/tmp/zoo.cfg
exec java -Xmx128m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -cp {":".join(CLASS_PATH)} \\
    org.apache.zookeeper.server.quorum.QuorumPeerMain /tmp/zoo.cfg
"""
BORROWED = ["/usr", "/etc/alternatives", *(f"/etc/{n}" for n in sorted(os.listdir("/etc")) if n.startswith("java-"))]


def why_no_compose():
    return why_no_docker() or why_no_zookeeper() or (None if shutil.which("docker-compose") else "docker-compose is not installed")


def zookeeper_root():
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name in ("usr", "etc", "tmp", "data", "datalog", "proc"):
            info = tarfile.TarInfo(name)
            info.type, info.mode = tarfile.DIRTYPE, 0o755
            tar.addfile(info)
        for name in ("bin", "lib", "lib64"):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = tarfile.SYMTYPE, f"usr/{name}"
            tar.addfile(info)
        info = tarfile.TarInfo("zookeeper")
        info.size = len(ZOOKEEPER)
        tar.addfile(info, io.BytesIO(ZOOKEEPER.encode()))
    return out.getvalue()


def private_run(pid):
    """/var/run/docker.sock of the stack's host is the engine's own, not this machine's."""
    subprocess.run(["nsenter", "-t", str(pid), "-m", "mount", "-t", "tmpfs", "tmpfs", "/run"], check=True)


@unittest.skipIf(why_no_compose(), why_no_compose())
class Compose(lab.Suite):
    def setUp(self):
        self.place = lab.Folder("compose")
        self.addCleanup(self.place.close)
        self.engine = Dockerd(self.place, join=private_run, listen=["unix:///run/docker.sock"])
        self.addCleanup(self.engine.close)
        self.environment = {**os.environ, "DOCKER_HOST": self.engine.endpoint, "COMPOSE_PROJECT_NAME": "stack",
                            "CRONSCHED_BUILD": os.path.dirname(os.path.dirname(binary())), "COMPOSE_FILE":
                            os.path.join(TOP, "contrib/compose/compose.yaml") + ":" + self.place.write("zookeeper.yaml", json.dumps(
                                {"services": {f"zk-{n}": {"volumes": [f"{b}:{b}:ro" for b in BORROWED]} for n in (1, 2, 3)}}))}
        self.run_docker("import", "-c", 'ENTRYPOINT ["/bin/sh", "/zookeeper"]', "-", "zookeeper:3.9", stdin=zookeeper_root())

    def run_docker(self, *words, stdin=None, check=True, seconds=60):
        done = subprocess.run(["docker", *words], env=self.environment, input=stdin, capture_output=True, timeout=lab.scaled(seconds),
                              check=False)
        if check and done.returncode != 0:
            raise lab.LabError(f"docker {words}: {done.stdout!r} {done.stderr!r}")
        return done

    def cli(self, replica, *words, stdin=None, check=True, seconds=60):
        return self.run_docker("exec", "-i", f"stack_{replica}_1", "/usr/bin/cronsched", *words, stdin=stdin, check=check, seconds=seconds)

    def leader(self, replica):
        done = self.cli(replica, "cluster", "-o", "json", check=False)
        return (json.loads(done.stdout).get("leader") or {}).get("id") if done.returncode == 0 else None

    def ask(self, url, *options):
        """The status that curl gets from within the stack's host."""
        done = subprocess.run(["nsenter", "-t", str(self.engine.inside), "-n", "curl", "-s", "-o", "/dev/null", "-w", "%{http_code}",
                               *options, url], capture_output=True, text=True, timeout=lab.scaled(60), check=False)
        return done.stdout

    def test_one_command_brings_up_a_cluster_that_goes_on(self):
        up = subprocess.run([os.path.join(TOP, "contrib/compose/up")], env=self.environment, capture_output=True, text=True,
                            timeout=lab.scaled(240), check=False)
        self.assertEqual(0, up.returncode, up.stderr)
        first = lab.wait_for(lambda: self.leader("cron-1"), 120, lambda: f"a leader: {self.said('cron-1')}", every=1)
        other = {"cron-1": "cron-2", "cron-2": "cron-1"}[first]
        lab.wait_for(lambda: self.leader(other) == first, 60, f"{other} to know the leader", every=1)

        address = json.loads(self.run_docker("inspect", f"stack_{first}_1").stdout)[0]["NetworkSettings"]["Networks"]["stack_cron"]["IPAddress"]
        self.run_docker("cp", f"stack_{first}_1:/secrets/read.token", self.place.join("token"))
        self.run_docker("cp", f"stack_{first}_1:/secrets/ca.pem", self.place.join("ca.pem"))
        with open(self.place.join("token")) as f:
            token = f.read().strip()
        trusted = ["--cacert", self.place.join("ca.pem"), "--resolve", f"{first}:7460:{address}"]
        self.assertEqual("401", self.ask(f"https://{first}:7460/v1/jobs", *trusted))
        self.assertEqual("200", self.ask(f"https://{first}:7460/v1/jobs", *trusted, "-H", f"Authorization: Bearer {token}"))

        job = {"jobs": {"j": {"image": "busybox:local", "command": ["true"], "pull": "never"}}}
        self.cli(other, "apply", "-", stdin=json.dumps(job).encode())
        self.assertIn(b"succeeded", self.cli(other, "trigger", "j", "--wait").stderr)
        self.run_docker("kill", f"stack_{first}_1")
        lab.wait_for(lambda: self.leader(other) == other, 60, lambda: f"{other} to lead: {self.said(other)}", every=0.5)
        self.assertIn(b"succeeded", self.cli(other, "trigger", "j", "--wait").stderr)

    def said(self, replica):
        return self.run_docker("logs", "--tail", "20", f"stack_{replica}_1", check=False).stderr.decode(errors="replace")


if __name__ == "__main__":
    lab.main()
