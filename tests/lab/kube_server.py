"""A Kubernetes that a test scripts: an API server over real HTTPS with resourceVersions, gates, finalizers and watches as the
real one has them, a scheduler with one node, and a kubelet that runs commands as processes of this machine.

    kube = KubeServer(folder)
    kube.kubeconfig()                       # the path of one, for a server's configuration
    kube.on("PATCH", "/pods/", 409)         # the next such request is answered so; times=None: all of them
    kube.compact()                          # watches from before get 410
    kube.cut()                              # every connection breaks

What a test says of it (`on`) goes before what it does by itself. The real one is tests/lab/kubernetes.py.
"""

import copy
import http.server
import json
import os
import re
import signal
import socketserver
import ssl
import subprocess
import threading
import time
import urllib.parse
import uuid

from certificates import certificates

TOKEN = "scripted-token"
POD = re.compile(r"^/api/v1/namespaces/([^/]+)/pods(?:/([^/]+))?(/log)?$")
VARIABLE = re.compile(r"\$(\$|\(([A-Za-z0-9_.-]+)\))")


def now(fraction=False):
    t = time.time()
    text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(t))
    return f"{text}.{int(t % 1 * 1e9):09d}Z" if fraction else f"{text}Z"


class Refusal(Exception):
    def __init__(self, status, reason, message):
        super().__init__(message)
        self.status, self.reason, self.message = status, reason, message

    def body(self):
        return {"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": self.message, "reason": self.reason,
                "code": self.status}


def expand(text, variables):
    """As the kubelet does: $$ is a dollar, $(NAME) a value if there is one."""
    def one(match):
        return "$" if match[1] == "$" else variables.get(match[2], match[0])
    return VARIABLE.sub(one, text)


class Container:
    """The program of a Pod: a process group, and its output with stamps."""

    def __init__(self, kube, key, spec):
        variables = {}
        for v in spec.get("env", []):
            variables[v["name"]] = expand(v.get("value", ""), variables)
        words = [expand(w, variables) for w in [*spec.get("command", []), *spec.get("args", [])]]
        self.kube, self.key, self.lines, self.ended, self.changed = kube, key, [], False, threading.Condition()
        self.process = subprocess.Popen(words, env={"PATH": os.environ["PATH"], **variables}, stdin=subprocess.DEVNULL,
                                        cwd=kube.folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True)
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        for line in self.process.stdout:
            with self.changed:
                self.lines.append(now(True).encode() + b" " + line)
                self.changed.notify_all()
        self.process.wait()
        with self.changed:
            self.ended = True
            self.changed.notify_all()
        self.kube.container_ended(self.key, self.process.returncode)

    def kill(self, sig):
        """Its first process, or all of them."""
        try:
            (os.killpg if sig == signal.SIGKILL else os.kill)(self.process.pid, sig)
        except ProcessLookupError:
            pass


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def handle_request(self):
        kube = self.server.kube
        size = int(self.headers.get("Content-Length") or 0)
        body = json.loads(self.rfile.read(size)) if size else None
        url = urllib.parse.urlsplit(self.path)
        query = dict(urllib.parse.parse_qsl(url.query))
        path = urllib.parse.unquote(url.path)
        try:
            scripted = kube.scripted(self.command, self.path)
            if scripted == "apply-then-cut":  # done, and nobody is told
                kube.handle(self.command, path, query, body, self.headers, self.connection.getpeercert())
            if isinstance(scripted, str) and scripted.startswith("apply-then-cut") or scripted == "cut":
                self.close_connection = True
                return
            if isinstance(scripted, bytes):
                self.close_connection = True
                self.wfile.write(scripted)
                return
            if scripted:
                self.reply(*scripted)
                return
            answer = kube.handle(self.command, path, query, body, self.headers, self.connection.getpeercert())
            if callable(answer):
                answer(self)
            else:
                self.reply(201 if self.command == "POST" else 200, answer)
        except Refusal as e:
            self.reply(e.status, e.body())

    def reply(self, status, value, headers=None):
        data = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        for name, text in (headers or {}).items():
            self.send_header(name, text)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def begin_stream(self):
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()

    def chunk(self, data):
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
        self.wfile.flush()

    do_GET = do_POST = do_PATCH = do_DELETE = handle_request

    def log_message(self, *args):
        pass


class Listener(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, kube, port, context):
        super().__init__(("127.0.0.1", port), Handler)
        self.kube, self.context, self.open = kube, context, set()

    def finish_request(self, request, client_address):
        request = self.context.wrap_socket(request, server_side=True)
        self.open.add(request)
        try:
            super().finish_request(request, client_address)
        finally:
            self.open.discard(request)

    def handle_error(self, request, client_address):
        pass  # connections break, as they are to


class KubeServer:
    def __init__(self, folder, minor="36", prefix=""):
        self.folder = folder.make("kube")
        certificates(self.folder)
        self.minor, self.prefix, self.tokens = minor, prefix, {TOKEN}
        self.node_labels = {"kubernetes.io/hostname": "node1", "zone": "a"}
        self.lock = threading.RLock()
        self.changed = threading.Condition(self.lock)
        self.version, self.oldest, self.pods, self.events, self.containers, self.rules = 100, 0, {}, [], {}, []
        self.namespaces = {name: str(uuid.uuid4()) for name in ("kube-system", "default", "jobs", "other")}
        self.rights, self.reviewed, self.asked, self.closed = None, set(), [], False
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(os.path.join(self.folder, "server.pem"), os.path.join(self.folder, "server.key"))
        context.load_verify_locations(os.path.join(self.folder, "ca.pem"))
        context.verify_mode = ssl.CERT_OPTIONAL
        self.context, self.port = context, 0
        self.up()

    # ---- life ----

    def up(self):
        self.listener = Listener(self, self.port, self.context)
        self.port = self.listener.server_address[1]
        threading.Thread(target=self.listener.serve_forever, args=(0.05,), daemon=True).start()

    def down(self):
        self.listener.shutdown()
        self.listener.server_close()
        self.cut()

    def cut(self):
        for connection in list(self.listener.open):
            try:
                connection.shutdown(2)
            except OSError:
                pass

    def close(self):
        self.closed = True
        self.down()
        for container in list(self.containers.values()):
            container.kill(signal.SIGKILL)

    # ---- for tests ----

    @property
    def url(self):
        return f"https://127.0.0.1:{self.port}{self.prefix}"

    def file(self, name):
        return os.path.join(self.folder, name)

    def engine(self, **keys):
        return {"type": "kubernetes", "endpoint": self.url, "tls": {"ca": self.file("ca.pem")},
                "token_file": self.token_file(), "namespace": "jobs", **keys}

    def token_file(self, token=TOKEN):
        with open(self.file("token"), "w", encoding="utf-8") as f:
            f.write(token + "\n")
        return self.file("token")

    def on(self, method, part, answer, times=1):
        """answer: a status, (status, body[, headers]), bytes to write as they are, "cut" or "apply-then-cut"."""
        if isinstance(answer, int):
            answer = (answer, Refusal(answer, "", "the test says so").body())
        self.rules.append([method, part, answer, times])
        return self

    def forget(self):
        self.rules.clear()

    def scripted(self, method, path):
        with self.lock:
            self.asked.append((method, path))
            for rule in self.rules:
                if rule[0] == method and rule[1] in path and rule[3] != 0:
                    rule[3] = rule[3] - 1 if rule[3] else None
                    return rule[2]
        return None

    def count(self, method, part=""):
        return sum(m == method and part in p for m, p in self.asked)

    def compact(self):
        with self.lock:
            self.version += 10
            self.oldest = self.version
            self.events.clear()
        self.cut()

    def pod_of(self, run):
        with self.lock:
            found = [p for p in self.pods.values() if p["metadata"]["annotations"].get("cronsched.io/run") == run]
            return copy.deepcopy(found[-1]) if found else None

    def delete_pod(self, run):
        """As a person would."""
        meta = self.pod_of(run)["metadata"]
        with self.lock:
            self.delete(self.pods[meta["namespace"], meta["name"]], {"gracePeriodSeconds": 8})

    def vanish(self, run):
        """With its finalizer, as by force in the store."""
        meta = self.pod_of(run)["metadata"]
        with self.lock:
            pod = self.pods[meta["namespace"], meta["name"]]
            pod["metadata"].update(finalizers=[], deletionTimestamp=now())
            pod["status"]["phase"] = "Failed"
            self.put(pod)

    # ---- requests ----

    def handle(self, method, path, query, body, headers, certificate):
        if not path.startswith(self.prefix):
            raise Refusal(404, "NotFound", "not below the prefix")
        path = path[len(self.prefix):]
        if path == "/version":
            return {"major": "1", "minor": self.minor, "gitVersion": f"v1.{self.minor}.0"}
        if not certificate and headers.get("Authorization", "").removeprefix("Bearer ") not in self.tokens:
            raise Refusal(401, "Unauthorized", "Unauthorized")
        if path.startswith("/api/v1/namespaces/") and path.count("/") == 4:
            name = path.split("/")[4]
            if name not in self.namespaces:
                raise Refusal(404, "NotFound", f'namespaces "{name}" not found')
            return {"kind": "Namespace", "metadata": {"name": name, "uid": self.namespaces[name]}}
        if path.endswith("/selfsubjectaccessreviews"):
            asked = body["spec"]["resourceAttributes"]
            right = f"{asked['verb']} {asked['resource']}" + (f"/{asked['subresource']}" if asked["subresource"] else "")
            self.reviewed.add(right)
            return {**body, "status": {"allowed": self.rights is None or right in self.rights}}
        match = POD.match(path)
        if not match or match[1] not in self.namespaces:
            raise Refusal(404, "NotFound", f"there is no {path}")
        with self.lock:
            return self.handle_pod(method, match[1], match[2], match[3], query, body, headers)

    def handle_pod(self, method, namespace, name, log, query, body, headers):
        if method == "POST":
            return self.create(namespace, body)
        if name is None:
            return self.watch(namespace, query) if "watch" in query else self.list(namespace, query)
        pod = self.pods.get((namespace, name))
        if not pod:
            raise Refusal(404, "NotFound", f'pods "{name}" not found')
        if log:
            return self.log(pod, query)
        if method == "PATCH":
            return self.patch(pod, body, headers["Content-Type"])
        if method == "DELETE":
            return self.delete(pod, body or {})
        return copy.deepcopy(pod)

    def create(self, namespace, pod):
        meta, key = pod["metadata"], (namespace, pod["metadata"]["name"])
        if key in self.pods:
            raise Refusal(409, "AlreadyExists", f'pods "{key[1]}" already exists')
        meta.update(namespace=namespace, uid=str(uuid.uuid4()), creationTimestamp=now())
        pod["status"] = {"phase": "Pending"}
        self.pods[key] = pod
        self.put(pod, "ADDED")
        return copy.deepcopy(pod)

    def check(self, pod, uid, version):
        if uid and uid != pod["metadata"]["uid"]:
            raise Refusal(409, "Conflict", f"the UID in the precondition ({uid}) does not match")
        if version and version != pod["metadata"]["resourceVersion"]:
            raise Refusal(409, "Conflict", "the object has been modified; please apply your changes to the latest version")

    def patch(self, pod, body, kind):
        meta, own = body.get("metadata", {}), pod["metadata"]
        self.check(pod, meta.get("uid"), meta.get("resourceVersion"))
        own.setdefault("annotations", {}).update(meta.get("annotations", {}))
        if "strategic" in kind:
            gone = {g["name"] for g in body.get("spec", {}).get("schedulingGates", []) if g.get("$patch") == "delete"}
            gates = [g for g in pod["spec"].get("schedulingGates", []) if g["name"] not in gone]
            pod["spec"]["schedulingGates"] = gates
            off = meta.get("$deleteFromPrimitiveList/finalizers", [])
            own["finalizers"] = [f for f in own.get("finalizers", []) if f not in off]
        self.put(pod)
        return copy.deepcopy(pod)

    def delete(self, pod, body):
        conditions, meta = body.get("preconditions", {}), pod["metadata"]
        self.check(pod, conditions.get("uid"), conditions.get("resourceVersion"))
        over = pod["status"]["phase"] in ("Succeeded", "Failed") or not pod["spec"].get("nodeName")
        grace = 0 if over else body.get("gracePeriodSeconds", 30)
        if "deletionTimestamp" not in meta:
            meta["deletionTimestamp"] = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + grace))
            meta["deletionGracePeriodSeconds"] = grace
            self.put(pod)
            self.stop(pod, grace)
        return copy.deepcopy(pod)

    # ---- the store ----

    def put(self, pod, kind="MODIFIED"):
        meta = pod["metadata"]
        key = (meta["namespace"], meta["name"])
        self.version += 1
        meta["resourceVersion"] = str(self.version)
        over = pod["status"]["phase"] in ("Succeeded", "Failed") or not pod["spec"].get("nodeName")
        if "deletionTimestamp" in meta and over and not meta.get("finalizers"):
            del self.pods[key]
            kind = "DELETED"
        self.events.append((self.version, kind, copy.deepcopy(pod)))
        self.changed.notify_all()
        if kind != "DELETED":
            self.schedule(key, pod)

    def selected(self, pod, query):
        key, _, value = query.get("labelSelector", "").partition("=")
        return not key or pod["metadata"].get("labels", {}).get(key) == value

    def list(self, namespace, query):
        items = [copy.deepcopy(p) for (n, _), p in sorted(self.pods.items()) if n == namespace and self.selected(p, query)]
        first, limit = int(query.get("continue", 0)), int(query.get("limit", 500))
        more = {"continue": str(first + limit)} if len(items) > first + limit else {}
        return {"kind": "PodList", "metadata": {"resourceVersion": str(self.version), **more}, "items": items[first:first + limit]}

    def watch(self, namespace, query):
        at = int(query["resourceVersion"])

        def stream(handler):
            nonlocal at
            handler.begin_stream()
            if at < self.oldest:
                gone = Refusal(410, "Expired", f"too old resource version: {at} ({self.oldest})").body()
                handler.chunk(json.dumps({"type": "ERROR", "object": gone}).encode() + b"\n")
                handler.chunk(b"")
                return
            until = time.monotonic() + int(query.get("timeoutSeconds", 300))
            while time.monotonic() < until and not self.closed:
                with self.changed:
                    events = [e for e in self.events if e[0] > at]
                    if not events:
                        self.changed.wait(0.5)
                        continue
                for at, kind, pod in events:
                    if pod["metadata"]["namespace"] == namespace and self.selected(pod, query):
                        handler.chunk(json.dumps({"type": kind, "object": pod}).encode() + b"\n")
            handler.chunk(b"")
        return stream

    # ---- the scheduler and the kubelet ----

    def schedule(self, key, pod):
        spec, meta = pod["spec"], pod["metadata"]
        if spec.get("schedulingGates") or spec.get("nodeName") or "deletionTimestamp" in meta:
            return
        wanted = dict(spec.get("nodeSelector", {}))
        terms = spec.get("affinity", {}).get("nodeAffinity", {}).get("requiredDuringSchedulingIgnoredDuringExecution", {})
        for e in [e for t in terms.get("nodeSelectorTerms", []) for e in t["matchExpressions"]]:
            wanted[e["key"]] = e["values"][0] if e["operator"] == "In" else None
        if any(self.node_labels.get(k) != v for k, v in wanted.items()):
            if not pod["status"].get("conditions"):
                pod["status"]["conditions"] = [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message":
                                                "0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector."}]
                self.put(pod)
            return
        spec["nodeName"] = "node1"
        self.put(pod)
        threading.Thread(target=self.run, args=(key, pod["metadata"]["uid"]), daemon=True).start()

    def run(self, key, uid):
        with self.lock:
            pod = self.pods.get(key)
            if not pod or pod["metadata"]["uid"] != uid or key in self.containers:
                return
            main = next(c for c in pod["spec"]["containers"] if c["name"] == "main")
            if main["image"].startswith("no/such"):
                never = main["imagePullPolicy"] == "Never"
                self.status(pod, {"waiting": {"reason": "ErrImageNeverPull" if never else "ImagePullBackOff",
                                              "message": f"image {main['image']} cannot be had"}}, "Pending")
                return
            try:
                self.containers[key] = Container(self, key, main)
            except OSError as e:
                self.status(pod, {"terminated": {"reason": "StartError", "exitCode": 128, "startedAt": "1970-01-01T00:00:00Z",
                                                 "finishedAt": now(), "message": f"exec: {e.strerror.lower()}"}}, "Failed")
                return
            self.status(pod, {"running": {"startedAt": now()}}, "Running", f"scripted://{uid}")

    def status(self, pod, state, phase, container=None):
        old = (pod["status"].get("containerStatuses") or [{}])[0]
        pod["status"].update(phase=phase, containerStatuses=[{
            "name": "main", "state": state, "restartCount": 0, "ready": "running" in state,
            **({"containerID": container or old.get("containerID")} if container or old.get("containerID") else {})}])
        self.put(pod)

    def container_ended(self, key, code):
        with self.lock:
            pod = self.pods.get(key)
            if not pod:
                return
            began = pod["status"]["containerStatuses"][0]["state"].get("running", {}).get("startedAt", now())
            code = 128 - code if code < 0 else code
            self.status(pod, {"terminated": {"exitCode": code, "reason": "Error" if code else "Completed", "startedAt": began,
                                             "finishedAt": now()}}, "Failed" if code else "Succeeded")

    def stop(self, pod, grace):
        key = (pod["metadata"]["namespace"], pod["metadata"]["name"])
        container = self.containers.get(key)
        if container and not container.ended:
            container.kill(signal.SIGTERM)
            timer = threading.Timer(grace, container.kill, [signal.SIGKILL])
            timer.daemon = True
            timer.start()
        elif pod["spec"].get("nodeName") and pod["status"]["phase"] == "Pending":
            self.status(pod, {"terminated": {"exitCode": 137, "reason": "ContainerStatusUnknown", "message":
                                             "The container could not be located when the pod was terminated"}}, "Failed")

    def log(self, pod, query):
        container = self.containers.get((pod["metadata"]["namespace"], pod["metadata"]["name"]))
        if not container:
            raise Refusal(400, "BadRequest", f'container "main" in pod "{pod["metadata"]["name"]}" is waiting to start')

        def stream(handler):
            handler.begin_stream()
            at = 0
            while True:
                with container.changed:
                    lines, ended = container.lines[at:], container.ended
                    if not lines and not ended and query.get("follow"):
                        container.changed.wait(0.5)
                        continue
                at += len(lines)
                lines = [line for line in lines if line[:19].decode() >= query.get("sinceTime", "")[:19]]
                if lines:
                    handler.chunk(b"".join(lines))
                if (ended or not query.get("follow")) and at >= len(container.lines):
                    break
            handler.chunk(b"")
        return stream


def kube_job(ledger, body="true", **keys):
    """A job whose container writes to this ledger, by the path that it has on this machine too."""
    return {"engine": "kubernetes", "image": "docker.io/library/busybox:local", "pull": "never",
            "volumes": [f"{ledger.folder}:{ledger.folder}"], "command": ["sh", "-c", ledger.script(ledger.path, body)], **keys}
