"""A real Kubernetes of one node, from programs that are given: etcd, API server, controller manager, scheduler, and a kubelet
over containerd, whose Pods have a network namespace of their own.

    CRONSCHED_KUBERNETES=TOOLS tests/integration/kubernetes_test.py

TOOLS has bin/hyperkube, which is the four of Kubernetes 1.27 or later by the name it is called by, and what Debian's packages
containerd (2.0 or later), etcd-server and containernetworking-plugins unpack to, in x/PACKAGE/. Without it the tests are
skipped: Debian has no Kubernetes with scheduling gates.

    kube = Kubernetes(folder, tools)
    kube.kubeconfig                          # its path
    kube.kill("apiserver"); kube.start("apiserver")
    kube.pod_of(run)
"""

import hashlib
import io
import json
import os
import shutil
import ssl
import subprocess
import tarfile
import urllib.error
import urllib.request

from docker import busybox_root
from place import LabError, kill_process, processes_of, wait_for
from service import Service

TOKEN = "lab-admin-token"
NODE = "localhost"  # a name that everybody knows, for the API server's way to the kubelet
PAUSE = ["/bin/sleep", "1000000"]
NET = "10.89.0.0/16"

CONTAINERD = """version = 3
root = "{dir}/root"
state = "{dir}/state"
[grpc]
  address = "{dir}/containerd.sock"
[ttrpc]
  address = "{dir}/containerd.ttrpc"
[plugins.'io.containerd.cri.v1.runtime']
  netns_mounts_under_state_dir = true
  restrict_oom_score_adj = true
  [plugins.'io.containerd.cri.v1.runtime'.cni]
    bin_dirs = ["{tools}/x/containernetworking-plugins/usr/lib/cni"]
    conf_dir = "{dir}/cni"
  [plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc.options]
      BinaryName = "{dir}/runtime"
      SystemdCgroup = false
[plugins.'io.containerd.cri.v1.images'.pinned_images]
  sandbox = "docker.io/library/pause:local"
"""

# Where a negative oom_score_adj is refused no container could be made.
RUNTIME = """#!/bin/sh
bundle=.; last=
for word in "$@"; do case $last in --bundle|-b) bundle=$word;; esac; last=$word; done
case " $* " in *" create "*|*" run "*)
    python3 -c 'import json,sys; p=sys.argv[1]+"/config.json"; c=json.load(open(p)); c["process"].pop("oomScoreAdj",None); json.dump(c,open(p,"w"))' "$bundle";;
esac
exec {runc} "$@"
"""

KUBELET = {"apiVersion": "kubelet.config.k8s.io/v1beta1", "kind": "KubeletConfiguration", "failCgroupV1": False,
           "cgroupDriver": "cgroupfs", "cgroupsPerQOS": False, "enforceNodeAllocatable": [], "failSwapOn": False,
           "makeIPTablesUtilChains": False, "address": "127.0.0.1", "readOnlyPort": 0, "healthzPort": 0,
           "authentication": {"anonymous": {"enabled": True}, "webhook": {"enabled": False}},
           "authorization": {"mode": "AlwaysAllow"}, "evictionHard": {"memory.available": "1Mi"},
           "nodeStatusUpdateFrequency": "4s", "registryPullQPS": 0, "maxPods": 250}


def image(name, command, layer):
    """As `ctr images import` takes it."""
    digest = hashlib.sha256(layer).hexdigest()
    config = json.dumps({"architecture": "amd64", "os": "linux", "config": {"Cmd": command} if command else {},
                         "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}"]}}).encode()
    manifest = [{"Config": "config.json", "RepoTags": [f"docker.io/library/{name}:local"], "Layers": ["layer.tar"]}]
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for path, data in (("config.json", config), ("manifest.json", json.dumps(manifest).encode()), ("layer.tar", layer)):
            info = tarfile.TarInfo(path)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return out.getvalue()


class Kubernetes:
    def __init__(self, folder, tools, base=27443):
        self.path, self.tools, self.base = str(folder), os.path.abspath(tools), base
        self.services, self.commands = {}, {}
        for name in ("etcd", "certs", "ctd/cni"):
            os.makedirs(os.path.join(self.path, name), exist_ok=True)
        for name in ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet"):
            link = self.file(name)
            if not os.path.lexists(link):
                os.symlink(os.path.join(self.tools, "bin", "hyperkube"), link)
        try:
            self._up()
        except BaseException:
            self.close()
            raise

    def file(self, *names):
        return os.path.join(self.path, *names)

    # ---- its parts ----

    def start(self, name):
        service = self.services.setdefault(name, Service(self.path, name))
        service.spawn(self.commands[name])

    def kill(self, name):
        self.services[name].kill()

    def _add(self, name, *command):
        self.commands[name] = list(command)
        self.start(name)

    def _up(self):
        etcd, peer, p = f"http://127.0.0.1:{self.base + 1}", f"http://127.0.0.1:{self.base + 2}", self.base
        self._write_files()
        self._add("space", "unshare", "--net", "sh", "-c", "while :; do sleep 1000; done", self.path)
        self._add("etcd", f"{self.tools}/x/etcd-server/usr/bin/etcd", "--data-dir", self.file("etcd"), "--unsafe-no-fsync",
                  "--listen-client-urls", etcd, "--advertise-client-urls", etcd, "--listen-peer-urls", peer,
                  "--initial-advertise-peer-urls", peer, "--initial-cluster", f"default={peer}")
        bin_dir = f"{self.tools}/x/containerd/usr/bin"
        wait_for(lambda: self.services["space"].pid, 10, "a network namespace")
        net = f"--net=/proc/{self.services['space'].pid}/ns/net"
        wait_for(lambda: os.readlink(f"/proc/{self.services['space'].pid}/ns/net") != os.readlink("/proc/self/ns/net"), 10, "its own network")
        subprocess.run(["nsenter", net, "ip", "link", "set", "lo", "up"], check=True)
        self._add("runtime", "env", f"PATH={bin_dir}:{os.environ['PATH']}", "nsenter", net, f"{bin_dir}/containerd", "--config",
                  self.file("ctd", "config.toml"))
        certs = ["--cert-dir", self.file("certs"), "--bind-address", "127.0.0.1"]
        self._add("apiserver", self.file("kube-apiserver"), *certs, f"--etcd-servers={etcd}", f"--secure-port={p}",
                  "--advertise-address=127.0.0.1", "--endpoint-reconciler-type=none", f"--token-auth-file={self.file('tokens.csv')}",
                  "--authorization-mode=RBAC", "--service-account-issuer=https://lab",
                  f"--service-account-signing-key-file={self.file('sa.key')}", f"--service-account-key-file={self.file('sa.key')}",
                  "--service-cluster-ip-range=10.96.0.0/24", "--disable-admission-plugins=ServiceAccount",
                  "--kubelet-preferred-address-types=Hostname,InternalIP")
        wait_for(self.ready, 60, lambda: f"the API server: {self.services['apiserver'].log_tail()}")
        self._add("controllers", self.file("kube-controller-manager"), *certs, "--kubeconfig", self.kubeconfig, "--leader-elect=false",
                  f"--service-account-private-key-file={self.file('sa.key')}", f"--secure-port={p + 3}", "--node-monitor-grace-period=12s")
        self._add("scheduler", self.file("kube-scheduler"), *certs, "--kubeconfig", self.kubeconfig, "--leader-elect=false",
                  f"--secure-port={p + 4}")
        self._import_images(bin_dir)
        self._add("kubelet", self.file("kubelet"), "--config", self.file("kubelet.json"), "--kubeconfig", self.kubeconfig,
                  "--root-dir", self.file("kubelet-data"), "--cert-dir", self.file("certs"), "--hostname-override", NODE)
        wait_for(self.node_ready, 60, lambda: f"the node: {self.services['kubelet'].log_tail()}", every=0.3)

    def _write_files(self):
        p = self.base
        self.kubeconfig = self.file("kubeconfig")
        kubeconfig = {"apiVersion": "v1", "kind": "Config", "current-context": "lab",
                      "clusters": [{"name": "lab", "cluster": {"server": self.url, "insecure-skip-tls-verify": True}}],
                      "users": [{"name": "admin", "user": {"token": TOKEN}}],
                      "contexts": [{"name": "lab", "context": {"cluster": "lab", "user": "admin"}}]}
        kubelet = {**KUBELET, "port": p + 5, "containerRuntimeEndpoint": f"unix://{self.file('ctd', 'containerd.sock')}"}
        cni = {"cniVersion": "1.0.0", "name": "lab", "plugins": [
            {"type": "bridge", "bridge": "cni0", "isGateway": True,
             "ipam": {"type": "host-local", "ranges": [[{"subnet": NET}]], "dataDir": self.file("ctd", "ipam")}}]}
        for name, text in (("kubeconfig", json.dumps(kubeconfig)), ("tokens.csv", f'{TOKEN},admin,admin,"system:masters"\n'),
                           ("kubelet.json", json.dumps(kubelet)), ("ctd/cni/10-lab.conflist", json.dumps(cni)),
                           ("ctd/config.toml", CONTAINERD.format(dir=self.file("ctd"), tools=self.tools)),
                           ("ctd/runtime", RUNTIME.format(runc=shutil.which("runc") or "/usr/sbin/runc"))):
            with open(self.file(name), "w", encoding="utf-8") as f:
                f.write(text)
        os.chmod(self.file("ctd", "runtime"), 0o755)
        subprocess.run(["openssl", "genrsa", "-out", self.file("sa.key"), "2048"], check=True, capture_output=True)

    def _import_images(self, bin_dir):
        socket = self.file("ctd", "containerd.sock")
        wait_for(lambda: os.path.exists(socket), 30, lambda: f"containerd: {self.services['runtime'].log_tail()}")
        layer = busybox_root()
        for name, command in (("busybox", None), ("pause", PAUSE)):
            done = subprocess.run([f"{bin_dir}/ctr", "-a", socket, "-n", "k8s.io", "images", "import", "-"], capture_output=True,
                                  input=image(name, command, layer), check=False)
            if done.returncode != 0:
                raise LabError(f"import of {name}: {done.stderr.decode(errors='replace')}")

    def close(self):
        if "kubelet" in self.services:
            self.kill("kubelet")
            self._end_containers()
        for name in reversed(list(self.services)):
            self.services[name].kill()
        for pid in processes_of(self.path):  # the shims of containers
            kill_process(pid)
        with open("/proc/mounts", encoding="utf-8") as f:
            for point in sorted((line.split()[1] for line in f), reverse=True):
                if point.startswith(self.path + "/"):
                    subprocess.run(["umount", "-l", point], check=False, capture_output=True)

    def _end_containers(self):
        listed = subprocess.run([f"{self.tools}/x/containerd/usr/bin/ctr", "-a", self.file("ctd", "containerd.sock"), "-n", "k8s.io",
                                 "tasks", "ls"], capture_output=True, text=True, check=False, timeout=20)
        for line in listed.stdout.splitlines()[1:]:
            if line.split()[2:] == ["RUNNING"]:
                kill_process(int(line.split()[1]))

    # ---- its API ----

    @property
    def url(self):
        return f"https://127.0.0.1:{self.base}"

    def call(self, method, path, body=None, kind="application/json", token=TOKEN):
        """(status, answer)"""
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        request = urllib.request.Request(self.url + path, method=method, data=json.dumps(body).encode() if body is not None else None,
                                         headers={"Authorization": f"Bearer {token}", "Content-Type": kind})
        try:
            with urllib.request.urlopen(request, context=context, timeout=20) as answer:
                text = answer.read()
                return answer.status, json.loads(text) if text[:1] in b"{[" else text.decode()
        except urllib.error.HTTPError as e:
            return e.code, e.read().decode(errors="replace")

    def done(self, method, path, body=None, kind="application/json"):
        status, answer = self.call(method, path, body, kind)
        if status >= 300:
            raise LabError(f"{method} {path}: {status} {answer}")
        return answer

    def ready(self):
        try:
            return self.call("GET", "/readyz")[0] == 200
        except OSError:
            return False

    def node_ready(self):
        try:
            status, node = self.call("GET", f"/api/v1/nodes/{NODE}")
        except OSError:
            return False
        return status == 200 and any(c["type"] == "Ready" and c["status"] == "True" for c in node["status"]["conditions"])

    def apply(self, objects):
        """As kubectl would, of which nothing is needed; what the API does not know is an error."""
        for body in objects:
            group = "/api/v1" if body["apiVersion"] == "v1" else f"/apis/{body['apiVersion']}"
            space = body["metadata"].get("namespace")
            kind = body["kind"].lower() + "s"
            path = f"{group}{f'/namespaces/{space}' if space else ''}/{kind}/{body['metadata']['name']}"
            self.done("PATCH", f"{path}?fieldManager=lab&force=true&fieldValidation=Strict", body, "application/apply-patch+yaml")

    def token(self, namespace, account):
        """Of a service account, as its Pods have it."""
        path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{account}/token"
        return self.done("POST", path, {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}})["status"]["token"]

    def engine(self, **keys):
        return {"type": "kubernetes", "kubeconfig": self.kubeconfig, "namespace": "default", **keys}

    def pods(self):
        return self.done("GET", "/api/v1/pods?labelSelector=cronsched.io/cluster")["items"]

    def pod_of(self, run):
        found = [p for p in self.pods() if p["metadata"]["annotations"].get("cronsched.io/run") == run]
        return found[-1] if found else None

    def delete_pod(self, run):
        """As a person would."""
        meta = self.pod_of(run)["metadata"]
        self.done("DELETE", f"/api/v1/namespaces/{meta['namespace']}/pods/{meta['name']}", {"gracePeriodSeconds": 8})
