"""The lab: everything that a black-box test needs, under one name. Python's standard library only.

    sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lab"))
    import lab

    class Some(lab.Suite):
        def test_something(self):
            server = self.server().start()
            server.apply({"j": {"command": ["true"]}})
            self.assertEqual("succeeded", server.cli.wait_end(server.cli.trigger("j"))["verdict"])

    if __name__ == "__main__":
        lab.main()
"""

from cluster import Cluster  # noqa: F401
from docker import IMAGE, DockerApi, Dockerd, busybox_root, why_no_docker  # noqa: F401
from kube_server import KubeServer, kube_job  # noqa: F401
from kubernetes import Kubernetes  # noqa: F401
from ledger import Checker, Ledger, every_second  # noqa: F401
from pace import promised, quiet_for, scaled  # noqa: F401
from place import (Folder, LabError, Tmpfs, alive, kill_process, processes_of, wait_for)  # noqa: F401
from proxy import Proxy  # noqa: F401
from server import (TOP, Answer, Cli, Server, binary, has_faults, instant, parse_instant, run_id)  # noqa: F401
from service import Service, children  # noqa: F401
from swarm import Swarm, swarm_job  # noqa: F401
from tap import Suite, docker_engine, main, say, shared_docker, shared_kubernetes, shared_swarm  # noqa: F401
from zookeeper import SMALL, ZooKeeper, why_no_zookeeper  # noqa: F401
