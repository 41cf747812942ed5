"""A Docker Engine of a test's own, started by hand, and a small client of its API.

The engine and its containerd live in namespaces of their own (processes, mounts, network) that one holder process
keeps: when the holder is killed the kernel ends everything in them, so nothing can be left behind, whatever became of
the test. Two engines never share a network namespace: the second one would remove the bridge of the first.
containerd runs beside dockerd, as Debian starts it: so a dockerd that is killed leaves its containers running.
"""

import http.client
import io
import json
import os
import shutil
import signal
import socket
import subprocess
import tarfile
import urllib.parse

from pace import scaled
from place import LabError, alive, kill_process, wait_for
from service import Service, children

BUSYBOX = "/bin/busybox"
IMAGE = "busybox:local"


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path, timeout=60):
        super().__init__("localhost", timeout=timeout)
        self.unix_path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.unix_path)


class DockerApi:
    """Plain calls over the engine's socket; each on a connection of its own."""

    def __init__(self, socket_path):
        self.socket_path = socket_path

    def call(self, method, path, body=None, content_type="application/json", timeout=60):
        """(status, parsed answer or bytes)"""
        connection = UnixConnection(self.socket_path, scaled(timeout))
        try:
            if body is not None and not isinstance(body, (bytes, io.IOBase)):
                body = json.dumps(body).encode()
            connection.request(method, path, body, {"Content-Type": content_type})
            answer = connection.getresponse()
            data = answer.read()
            if data and answer.headers.get("Content-Type", "").startswith("application/json"):
                try:
                    data = json.loads(data)
                except ValueError:
                    pass  # a stream of JSON documents
            return answer.status, data
        finally:
            connection.close()

    def reachable(self):
        try:
            return self.call("GET", "/_ping", timeout=5)[0] == 200
        except OSError:
            return False

    def containers(self, **labels):
        """All containers, whatever their state, that carry these labels (dots written as two underscores)."""
        wanted = [f"{k.replace('__', '.')}={v}" if v is not None else k.replace("__", ".")
                  for k, v in labels.items()]
        filters = urllib.parse.quote(json.dumps({"label": wanted}))
        status, found = self.call("GET", f"/containers/json?all=1&filters={filters}")
        if status != 200:
            raise LabError(f"listing containers: {status} {found}")
        return found

    def inspect(self, container):
        status, found = self.call("GET", f"/containers/{container}/json")
        return found if status == 200 else None

    def remove(self, container):
        return self.call("DELETE", f"/containers/{container}?force=1&v=1")[0]

    def import_image(self, tar_bytes, name):
        repo, _, tag = name.partition(":")
        status, answer = self.call("POST", f"/images/create?fromSrc=-&repo={repo}&tag={tag or 'latest'}",
                                   tar_bytes, "application/x-tar")
        if status != 200:
            raise LabError(f"importing {name}: {status} {answer}")


def busybox_root():
    """A tar of the smallest root file system: Debian's static busybox under all its names, and /tmp."""
    if not os.path.exists(BUSYBOX):
        raise LabError(f"{BUSYBOX} is missing: install busybox-static")
    names = subprocess.run([BUSYBOX, "--list"], capture_output=True, text=True, check=True).stdout.split()
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for folder, mode in (("bin", 0o755), ("etc", 0o755), ("tmp", 0o1777), ("var", 0o755)):
            info = tarfile.TarInfo(folder)
            info.type, info.mode = tarfile.DIRTYPE, mode
            tar.addfile(info)
        tar.add(BUSYBOX, "bin/busybox")
        for name in names:
            if name != "busybox":
                info = tarfile.TarInfo(f"bin/{name}")
                info.type, info.linkname = tarfile.SYMTYPE, "busybox"
                tar.addfile(info)
    return out.getvalue()


def why_no_docker():
    """None, or why no engine can be started on this machine."""
    if os.geteuid() != 0:
        return "starting dockerd needs root"
    for program in ("dockerd", "containerd", "runc", "unshare", "nsenter"):
        if not shutil.which(program):
            return f"{program} is not installed"
    done = subprocess.run(["unshare", "--pid", "--mount", "--net", "--fork", "true"], capture_output=True,
                          text=True, check=False)
    return None if done.returncode == 0 else f"no namespaces here: {done.stderr.strip()}"


class Dockerd:
    """An engine below a folder: start(), kill() it as a crash would, start() again, close(). `listen` are further
    addresses, as "tcp://10.77.0.31:2375"; `join` is called with the id of a process in its namespaces before it starts.
    A detached one is left running, and attach() finds it again. `hostname`: it has one of its own."""

    hostname = None

    def __init__(self, folder, name="docker", live_restore=False, detached=False, listen=(), join=None, hostname=None):
        self.hostname = hostname
        self._at(os.path.join(str(folder), name), detached, listen)
        self.live_restore = live_restore
        try:
            self._hold()
            if join:
                join(self.inside)
            self._start_containerd()
            self.start()
            self.api.import_image(busybox_root(), IMAGE)
        except BaseException:
            self.close()
            raise

    def _at(self, path, detached, listen):
        os.makedirs(path, exist_ok=True)
        self.folder, self.listen = path, list(listen)
        self.socket = self.path("docker.sock")
        self.api = DockerApi(self.socket)
        self.holder, self.containerd, self.dockerd = (
            Service(path, name, detached) for name in ("holder", "containerd", "dockerd"))

    @classmethod
    def attach(cls, folder, name="docker", listen=()):
        """One that another process made and left running."""
        engine = cls.__new__(cls)
        engine._at(os.path.join(str(folder), name), True, listen)
        engine.live_restore = False
        return engine

    @property
    def endpoint(self):
        return f"unix://{self.socket}"

    def path(self, name):
        return os.path.join(self.folder, name)

    def _hold(self):
        if os.path.exists(self.holder.log_path):
            os.unlink(self.holder.log_path)
        # The first process of a namespace inherits the orphans in it, a shim for each container: a shell that waits
        # reaps them.
        own = ["--uts"] if self.hostname else []
        name = f"hostname {self.hostname}; " if self.hostname else ""
        self.holder.spawn(["unshare", *own, "--pid", "--mount", "--net", "--fork", "--kill-child", "--mount-proc", "sh", "-c",
                           f"{name}ip link set lo up; echo ready; sleep infinity & wait", self.folder])
        wait_for(lambda: "ready" in self.holder.log(), 20,
                 lambda: f"namespaces for an engine: {self.holder.log_tail()}")

    @property
    def inside(self):
        """The id of a process in the namespaces; None when there are none."""
        holder = self.holder.pid
        return next(iter(children(holder)), None) if holder else None

    def _run_inside(self, service, *command):
        """Starts a program in the namespaces; the service's process is nsenter, which has become the program's parent
        (a new process namespace is entered by a fork)."""
        own = ["-u"] if self.hostname else []
        service.spawn(["nsenter", "-t", str(self.inside), "-p", "-m", "-n", *own, *command])

    def _start_containerd(self):
        with open(self.path("containerd.toml"), "w") as f:
            f.write(f"""version = 2
root = "{self.path('containerd-root')}"
state = "{self.path('containerd-state')}"
disabled_plugins = ["io.containerd.grpc.v1.cri"]
[grpc]
address = "{self.path('containerd.sock')}"
[debug]
level = "warn"
""")
        self._run_inside(self.containerd, "containerd", "--config", self.path("containerd.toml"))
        wait_for(lambda: os.path.exists(self.path("containerd.sock")), 30, "containerd")

    def start(self):
        """Starts dockerd and waits until it answers; again after kill() or stop()."""
        options = ["--live-restore"] if self.live_restore else []
        options += [f"--host={address}" for address in self.listen] + ["--tls=false"] * bool(self.listen)
        for stale in ("docker.pid", "docker.sock"):
            if os.path.exists(self.path(stale)):
                os.unlink(self.path(stale))
        self._run_inside(
            self.dockerd, "dockerd", "--containerd", self.path("containerd.sock"), "--data-root", self.path("data"),
            "--exec-root", self.path("exec"), "-H", self.endpoint, "--pidfile", self.path("docker.pid"), *options)

        def up():
            if not self.dockerd.pid:
                raise LabError(f"dockerd ended: {self.dockerd.log_tail()}")
            return self.api.reachable()

        wait_for(up, 60, lambda: f"dockerd: {self.dockerd.log_tail()}")

    @property
    def pid(self):
        """The program's id out here: nsenter's one child. None when it does not run."""
        parent = self.dockerd.pid
        return next(iter(children(parent)), None) if parent else None

    def _end(self, sig, seconds):
        pid = self.pid
        if pid:
            kill_process(pid, sig, seconds)
        parent = self.dockerd.pid
        if parent:
            wait_for(lambda: not alive(parent), 10, "nsenter to end")

    def kill(self):
        """SIGKILL to dockerd alone: containerd and the containers go on."""
        self._end(signal.SIGKILL, 10)

    def stop(self):
        self._end(signal.SIGTERM, 30)

    def kill_shim(self, container):
        """Ends a container and the runtime that knows of its end, as a power loss does."""
        space = os.readlink(f"/proc/{self.inside}/ns/pid")
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open(f"/proc/{pid}/cmdline", "rb") as f:
                    words = f.read().split(b"\0")
                if container.encode() not in words or os.readlink(f"/proc/{pid}/ns/pid") != space:
                    continue
                below = children(int(pid))
                kill_process(int(pid), signal.SIGKILL, 10)
                for child in below:
                    kill_process(child, signal.SIGKILL, 10)
            except OSError:
                pass  # it ended meanwhile

    def make_up_zero(self, container):
        """What Docker 24.0 writes where other versions write 255. While it does not run."""
        path = self.path(f"data/containers/{container}/config.v2.json")
        with open(path) as f:
            text = f.read()
        if '"ExitCode":255' not in text:
            raise LabError(f"the engine has not made up an end: {text[:300]}")
        with open(path, "w") as f:
            f.write(text.replace('"ExitCode":255', '"ExitCode":0'))

    def pause(self):
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self):
        for pid in (self.pid, self.dockerd.pid):  # nsenter, its parent, stops with it
            os.kill(pid, signal.SIGCONT)

    def close(self):
        """Removes the containers that run, so that their control groups go too, and ends the namespaces. The others, thousands
        after an hour, go with the folder."""
        try:
            if self.pid:
                for container in self.api.call("GET", "/containers/json", timeout=20)[1]:
                    self.api.remove(container["Id"])
                self.stop()
        except (OSError, LabError):
            pass
        inside = self.inside
        self.holder.kill()
        wait_for(lambda: not inside or not alive(inside), 10, "the namespaces to end")
