#!/usr/bin/python3
"""A scripted Nomad: nomad.py FOLDER PORT VERSION. As much of its HTTP API as contrib/plugins/nomad.py uses: jobs with EnforceIndex as a
compare-and-swap, and batch jobs of one raw_exec task, which really run. No Nomad is to be had where the tests run; what this one
does is what the documentation says."""

import http.server
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse

lock = threading.RLock()
index = [10]
jobs, allocations, version = {}, {}, [""]


def run(name, group):
    """An allocation of its one task."""
    task = group["Tasks"][0]
    folder = tempfile.mkdtemp(dir=sys.argv[1])
    out = os.path.join(folder, "stdout")
    index[0] += 1
    allocation = {"ID": f"alloc-{index[0]}", "CreateIndex": index[0], "CreateTime": time.time_ns(), "ModifyTime": time.time_ns(),
                  "ClientStatus": "running", "TaskStates": {"main": {"StartedAt": "2026-01-01T00:00:00Z", "Events": []}}, "out": out}
    allocations.setdefault(name, []).append(allocation)
    main = allocation["TaskStates"]["main"]
    words = [w.replace("$${", "${") for w in [task["Config"]["command"], *task["Config"]["args"]]]
    environment = {k: v.replace("$${", "${") for k, v in task["Env"].items()}

    def end(code, kind="Terminated", text=""):
        with lock:
            allocation["ClientStatus"] = "failed" if code else "complete"
            allocation["ModifyTime"] = time.time_ns()
            main["Events"].append({"Type": kind, "ExitCode": max(code, 0), "Signal": max(-code, 0), "DisplayMessage": text})

    def go():
        with open(out, "wb") as f:
            try:
                process = subprocess.Popen(words, env={**os.environ, **environment}, stdout=f, stderr=subprocess.DEVNULL,
                                           stdin=subprocess.DEVNULL, start_new_session=True)
            except OSError as error:
                main["StartedAt"] = ""
                end(1, "Driver Failure", str(error))
                return
            allocation["pid"] = process.pid
            end(process.wait())
    threading.Thread(target=go, daemon=True).start()


def stop(pid):
    for sig in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(pid, sig)
        except OSError:
            return
        time.sleep(2)


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def answer(self, status, body):
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def parts(self):
        url = urllib.parse.urlparse(self.path)
        return [urllib.parse.unquote(p) for p in url.path.split("/")[2:]], dict(urllib.parse.parse_qsl(url.query))

    def do_GET(self):
        parts, query = self.parts()
        with lock:
            if parts == ["agent", "self"]:
                self.answer(200, {"config": {"Version": {"Version": version[0]}}})
            elif parts == ["jobs"]:
                self.answer(200, [{"ID": name} for name in jobs if name.startswith(query.get("prefix", ""))])
            elif parts[:3] == ["client", "fs", "logs"]:
                found = next(a for all_ in allocations.values() for a in all_ if a["ID"] == parts[3])
                with open(found["out"], "rb") as f:
                    f.seek(int(query["offset"]))
                    self.answer(200, f.read())
            elif parts[0] == "job" and parts[1] not in jobs:
                self.answer(404, b"job not found")
            elif parts[2:] == ["allocations"]:
                self.answer(200, allocations.get(parts[1], []))
            else:
                self.answer(200, jobs[parts[1]])

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with lock:
            job, old = body["Job"], jobs.get(body["Job"]["ID"])
            if body["EnforceIndex"] and body["JobModifyIndex"] != (old["JobModifyIndex"] if old else 0):
                self.answer(500, f"Enforcing job modify index {body['JobModifyIndex']}: job exists with conflicting job modify "
                            "index".encode())
                return
            index[0] += 1
            jobs[job["ID"]] = {**job, "CreateIndex": old["CreateIndex"] if old else index[0], "JobModifyIndex": index[0]}
            if job["TaskGroups"][0]["Count"] and not allocations.get(job["ID"]):
                run(job["ID"], job["TaskGroups"][0])
            self.answer(200, {"JobModifyIndex": index[0]})

    def do_DELETE(self):
        parts, query = self.parts()
        with lock:
            for allocation in allocations.get(parts[1], []):
                if allocation["ClientStatus"] == "running" and allocation.get("pid"):
                    threading.Thread(target=stop, args=(allocation["pid"],), daemon=True).start()
            if parts[1] in jobs and query.get("purge"):
                jobs.pop(parts[1])
            elif parts[1] in jobs:
                jobs[parts[1]]["Stop"] = True
            self.answer(200, {})


if __name__ == "__main__":
    version[0] = sys.argv[3]
    server = http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[2])), Handler)
    print("ready", flush=True)
    server.serve_forever()
