#!/usr/bin/python3
"""A plug-in for Nomad (contrib/guide/plugins.md). Standard library only. UNPROVED: written by Nomad's documentation and tried against
a scripted server, never against a real one. Try it with `cronsched drill engine NAME` before you rely on it.

    engines:
      nomad: {type: plugin, command: [/usr/share/cronsched/plugins/nomad.py, "http://127.0.0.1:4646"]}

Each attempt is a batch job of its own, registered with no allocation (Count 0) and released by an update to one. Release and fence
are registrations with EnforceIndex at the index of the first one, so only one of them succeeds. That holds from Nomad 2.0.1 on, and
Enterprise 1.11.5 and 1.10.11; before, two at the same time could both succeed, and this says at-least-once.

NOMAD_TOKEN, NOMAD_NAMESPACE and NOMAD_REGION are used. A job with an image runs by the docker driver, another one by raw_exec (a
second argument names another driver). Standard output is kept in cronsched's log, standard error in Nomad's.
"""

import base64
import json
import os
import re
import sys
import threading
import time
import urllib.error
import urllib.parse
import urllib.request

LOOK_S = 0.5
CALL_S = 20
TRIES = 5
PIECE = 256 * 1024
ENDED = ("complete", "failed")

address = sys.argv[1].rstrip("/") if len(sys.argv) > 1 else "http://127.0.0.1:4646"
driver = sys.argv[2] if len(sys.argv) > 2 else "raw_exec"
say_lock = threading.Lock()
watched = set()
cluster = [""]


def say(**message):
    with say_lock:
        try:
            sys.stdout.write(json.dumps(message) + "\n")
            sys.stdout.flush()
        except OSError:
            os._exit(0)


class NotSent(Exception):
    """Nobody can have seen the request."""


class NoAnswer(Exception):
    """Whether it was done is not known."""


def call(method, path, body=None, raw=False, **query):
    """Status and answer."""
    for name, variable in (("namespace", "NOMAD_NAMESPACE"), ("region", "NOMAD_REGION")):
        if os.environ.get(variable):
            query[name] = os.environ[variable]
    url = f"{address}{path}?{urllib.parse.urlencode(query)}"
    data = json.dumps(body).encode() if body is not None else None
    request = urllib.request.Request(url, data=data, method=method, headers={"Content-Type": "application/json"})
    if os.environ.get("NOMAD_TOKEN"):
        request.add_header("X-Nomad-Token", os.environ["NOMAD_TOKEN"])
    try:
        with urllib.request.urlopen(request, timeout=CALL_S) as answer:
            found = answer.read()
            return answer.status, found if raw else json.loads(found or b"null")
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode(errors="replace").strip()
    except urllib.error.URLError as error:
        if isinstance(error.reason, ConnectionRefusedError):
            raise NotSent(str(error.reason)) from error
        raise NoAnswer(str(error.reason)) from error
    except (OSError, ValueError) as error:
        raise NoAnswer(str(error)) from error


def keeps_index(version):
    """Whether EnforceIndex is a compare-and-swap there."""
    found = re.match(r"v?(\d+)\.(\d+)\.(\d+)(.*)", version)
    if not found:
        return False
    number = tuple(int(n) for n in found.groups()[:3])
    if "ent" in found.group(4):
        return number >= (2, 0, 1) or (1, 11, 5) <= number < (1, 12, 0) or (1, 10, 11) <= number < (1, 11, 0)
    return number >= (2, 0, 1)


# ---- jobs ----

def job_of(q):
    job, command = q["job"], list(q["job"].get("command", []))
    if job.get("image"):
        config = {"image": job["image"]}
        if "entrypoint" in job:
            config["entrypoint"] = job["entrypoint"]
        if command:
            config.update(command=command[0], args=command[1:])
    else:
        config = {"command": command[0], "args": command[1:]}
    task = {"Name": "main", "Driver": "docker" if job.get("image") else driver, "Config": config,
            "Env": {k: v.replace("${", "$${") for k, v in q.get("environment", {}).items()},  # Nomad's templates are none of ours
            "KillTimeout": q["stop_grace_ms"] * 10**6, "RestartPolicy": {"Attempts": 0, "Mode": "fail"}}
    if job.get("user"):
        task["User"] = job["user"]
    config.update({k: [w.replace("${", "$${") for w in v] if isinstance(v, list) else v.replace("${", "$${")
                   for k, v in config.items()})
    group = {"Name": "main", "Count": 0, "RestartPolicy": {"Attempts": 0, "Mode": "fail"},
             "ReschedulePolicy": {"Attempts": 0, "Unlimited": False}, "Disconnect": {"Replace": False}, "Tasks": [task]}
    return {"ID": q["name"], "Name": q["name"], "Type": "batch", "Datacenters": ["*"], "TaskGroups": [group],
            "Meta": {"cronsched_cluster": cluster[0], "cronsched_run": q["run"], "cronsched_attempt": str(q["attempt"]),
                     "cronsched_epoch": str(q["epoch"]), "cronsched_job": q["job_name"]}}


def register(job, index):
    """True: done. False: somebody else was first. Else the words of a refusal."""
    status, answer = call("POST", "/v1/jobs", {"Job": job, "EnforceIndex": True, "JobModifyIndex": index})
    if status == 200:
        return True
    if "Enforcing job modify index" in str(answer):
        return False
    if status >= 500:
        raise NoAnswer(f"HTTP {status}: {answer}")
    return f"HTTP {status}: {answer}"


def look(ident):
    """The job of that id, if it is still the one that was prepared; None: there is none."""
    name, _, index = ident.rpartition(":")
    status, job = call("GET", f"/v1/job/{urllib.parse.quote(name, safe='')}")
    if status == 404 or (status == 200 and str(job["CreateIndex"]) != index):
        return None
    if status != 200:
        raise NoAnswer(f"HTTP {status}: {job}")
    return job


def changed(job, count, key, value):
    job = json.loads(json.dumps(job))
    job["TaskGroups"][0]["Count"] = count
    job["Meta"][key] = value
    return job


# ---- what has become of it ----

def exit_of(task):
    """Exit code and cause of a task's last end; None: it has told none."""
    for event in reversed(task.get("Events") or []):
        if event["Type"] == "Terminated":
            details = event.get("Details") or {}
            code = int(event.get("ExitCode", details.get("exit_code", -1)))
            sig = int(event.get("Signal", details.get("signal", 0)) or 0)
            if details.get("oom_killed") == "true":
                return 137, "oom"
            return (128 + sig, "signal") if sig else (code, "exit")
    return None


def reasons(task):
    said = [e.get("DisplayMessage") or e["Type"] for e in task.get("Events") or []]
    return "; ".join(said[-3:])[:1000]


def nanoseconds(stamp):
    return int(stamp // 10**6) if isinstance(stamp, int) else 0


def state(job):
    """The answer for a released one, and its allocation."""
    status, allocations = call("GET", f"/v1/job/{urllib.parse.quote(job['ID'], safe='')}/allocations", all="true")
    if status != 200:
        raise NoAnswer(f"HTTP {status}: {allocations}")
    if not allocations:
        if job.get("Stop"):
            return {"event": "unknown", "text": "the job was stopped before Nomad told of an allocation"}, None
        return {"event": "pending", "text": "Nomad has not placed it yet"}, None
    first = min(allocations, key=lambda a: a["CreateIndex"])
    task = (first.get("TaskStates") or {}).get("main") or {}
    started = bool(task.get("StartedAt")) and not str(task["StartedAt"]).startswith("0001")
    status = first["ClientStatus"]
    end = exit_of(task)
    if end:
        return {"event": "ended", "exit_code": min(end[0], 255), "cause": end[1], "at_ms": nanoseconds(first.get("ModifyTime")),
                "starts": len(allocations), "text": "" if end == (0, "exit") else reasons(task)}, first
    if status in ENDED and not started:
        return {"event": "refused", "exit_code": -1, "text": reasons(task) or f"Nomad says: {status}"}, first
    if status in (*ENDED, "lost", "unknown"):
        return {"event": "unreachable" if status == "unknown" else "unknown",
                "text": f"Nomad says: {status}; {reasons(task)}"}, first
    if started or status == "running":
        return {"event": "started", "started_ms": nanoseconds(first.get("CreateTime")), "starts": len(allocations)}, first
    return {"event": "pending", "text": reasons(task) or "it was placed"}, first


# ---- requests ----

def prepare(q):
    if not q["job"].get("image") and not q["job"].get("command"):
        return {"event": "refused", "text": "command: there is none, and no image"}
    job = job_of(q)
    done = register(job, 0)
    if isinstance(done, str):
        return {"event": "refused", "text": done}
    status, found = call("GET", f"/v1/job/{urllib.parse.quote(q['name'], safe='')}")
    if status != 200:
        raise NoAnswer(f"HTTP {status}: {found}")
    if any((found.get("Meta") or {}).get(k) != v for k, v in job["Meta"].items() if k != "cronsched_epoch"):
        return {"event": "refused", "text": f"the name {q['name']} is taken by a job that is not this attempt's"}
    return {"event": "prepared", "id": f"{q['name']}:{found['CreateIndex']}"}


def release(q):
    try:
        job = look(q["id"])
    except NoAnswer as error:
        return {"event": "unreachable", "text": str(error)}  # nothing was sent yet that could start it
    if not job:
        return {"event": "refused", "text": "it is not there any more"}
    if "cronsched_released" in job["Meta"] or "cronsched_fenced" in job["Meta"]:
        return {"event": "unknown", "text": "it was decided already"}
    done = register(changed(job, 1, "cronsched_released", "1"), job["JobModifyIndex"])
    if done is True:
        return {"event": "accepted", "text": "Nomad will start it when it can"}
    return {"event": "unknown", "text": "somebody else changed it" if done is False else done}


def fence(q):
    for _ in range(TRIES):
        job = look(q["id"])
        if not job and q["may_have_run"]:
            return {"event": "unknown", "text": "Nomad does not know it any more"}
        if not job:
            return {"event": "never-ran", "text": "Nomad does not have it, and it was never released"}
        if "cronsched_released" in job["Meta"]:
            found, _ = state(job)
            return {"event": "accepted", "text": found["text"]} if found["event"] == "pending" else found
        if "cronsched_fenced" in job["Meta"] or register(
                changed(job, 0, "cronsched_fenced", str(q["epoch"])), job["JobModifyIndex"]) is True:
            return {"event": "never-ran", "text": f"the job was fenced at index {job['JobModifyIndex']}"}
    return {"event": "unreachable", "text": "the job is being changed all the time"}


def watch(q):
    ticket, at, told = q["ticket"], q.get("log_from", 0), None
    if q["started_ms"] and not q["unresolved"]:
        told = "started"
    while ticket in watched:
        try:
            job = look(q["id"])
            if not job:
                return {"event": "unknown", "text": "Nomad does not know it any more"}
            found, allocation = state(job)
        except (NotSent, NoAnswer) as error:
            found, allocation = {"event": "unreachable", "text": str(error)}, None
        if allocation:
            at = send_output(ticket, allocation["ID"], at)
        if found["event"] not in ("pending", "started", "unreachable"):
            return found
        if (found["event"], found.get("text"), found.get("starts")) != told and (found["event"] != told):
            say(ticket=ticket, **found)
            told = (found["event"], found.get("text"), found.get("starts"))
        time.sleep(LOOK_S)
    return None


def send_output(ticket, allocation, at):
    while True:
        try:
            status, piece = call("GET", f"/v1/client/fs/logs/{allocation}", raw=True, task="main", type="stdout", plain="true",
                                 origin="start", offset=at)
        except (NotSent, NoAnswer):
            return at
        if status != 200 or not piece:
            return at
        piece = piece[:PIECE]
        say(ticket=ticket, log=base64.b64encode(piece).decode(), stream=1)
        at += len(piece)


def stop(q):
    name = q["id"].rpartition(":")[0]
    status, answer = call("DELETE", f"/v1/job/{urllib.parse.quote(name, safe='')}")
    return {"event": "done"} if status in (200, 404) else {"event": "unreachable", "text": f"HTTP {status}: {answer}"}


def discard(q):
    if fence({**q, "may_have_run": False})["event"] == "never-ran":
        purge(q["id"])
    return {"event": "done"}


def purge(ident):
    if look(ident):
        call("DELETE", f"/v1/job/{urllib.parse.quote(ident.rpartition(':')[0], safe='')}", purge="true")


OPS = {"prepare": prepare, "release": release, "fence": fence, "stop": stop, "discard": discard, "watch": watch}


def answer(q):
    try:
        found = OPS[q["op"]](q)
    except NotSent as error:
        found = {"event": "unreachable", "text": f"{address}: {error}"}
    except NoAnswer as error:
        found = {"event": "unknown" if q["op"] == "release" else "unreachable", "text": f"{address}: {error}"}
    except (KeyError, ValueError, TypeError) as error:
        found = {"event": "unknown" if q["op"] in ("release", "fence", "watch") else "unreachable",
                 "text": f"Nomad's answer makes no sense: {error!r}"}
    watched.discard(q["ticket"])
    if found:
        say(ticket=q["ticket"], **found)


# ---- all of it ----

def found_jobs():
    try:
        status, stubs = call("GET", "/v1/jobs", prefix="cs-")
        for stub in stubs if status == 200 else []:
            status, job = call("GET", f"/v1/job/{urllib.parse.quote(stub['ID'], safe='')}")
            meta = job.get("Meta") or {} if status == 200 else {}
            if meta.get("cronsched_cluster") != cluster[0]:
                continue
            ended = "cronsched_released" not in meta or state(job)[0]["event"] not in ("pending", "started", "unreachable")
            say(found=[{"id": f"{job['ID']}:{job['CreateIndex']}", "run": meta["cronsched_run"],
                        "attempt": int(meta["cronsched_attempt"]), "epoch": int(meta["cronsched_epoch"]),
                        "ended": ended and ("cronsched_released" in meta or "cronsched_fenced" in meta)}])
    except (NotSent, NoAnswer) as error:
        print(f"listing jobs: {error}", file=sys.stderr, flush=True)


def remove(ids):
    for ident in ids:
        try:
            purge(ident)
        except (NotSent, NoAnswer) as error:
            print(f"removing {ident}: {error}", file=sys.stderr, flush=True)


def main():
    while True:
        try:
            status, agent = call("GET", "/v1/agent/self")
            if status == 200:
                break
            print(f"HTTP {status}: {agent}", file=sys.stderr, flush=True)
        except (NotSent, NoAnswer) as error:
            print(f"{address}: {error}", file=sys.stderr, flush=True)
        time.sleep(2)  # after 10 s without a hello this is started again
    version = agent["config"]["Version"]["Version"]
    meta = agent["config"]["Version"].get("VersionMetadata", "")
    whole = f"{version}+{meta}" if meta else version
    say(hello=1, type="nomad", version=whole, guarantee="at-most-once" if keeps_index(whole) else "at-least-once", max_armed=64)
    for line in sys.stdin:
        message = json.loads(line)
        if "op" in message:
            if message["op"] == "watch":
                watched.add(message["ticket"])
            threading.Thread(target=answer, args=(message,), daemon=True).start()
        elif "welcome" in message:
            cluster[0] = message["cluster"]
        elif "ping" in message:
            say(pong=message["ping"])
        elif "list" in message:
            threading.Thread(target=found_jobs, daemon=True).start()
        elif "remove" in message:
            threading.Thread(target=remove, args=(message["remove"],), daemon=True).start()
        elif "abandon" in message:
            watched.clear()
    os._exit(0)


if __name__ == "__main__":
    main()
