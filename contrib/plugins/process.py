#!/usr/bin/python3
"""The reference plug-in: an engine of commands on this machine, in the protocol of contrib/guide/plugins.md. Standard library only.

    engines:
      mine: {type: plugin, command: [/usr/share/cronsched/plugins/process.py, /var/lib/cronsched/mine]}

Each attempt is a folder below that one. Whether it starts is decided there, and not in this process: RELEASE and FENCE both try to
make the file `decision`, and one of them succeeds. The process that makes it for a RELEASE is the one that becomes the command, so
a release that arrives late, from whoever, finds the decision and starts nothing. It runs in a session of its own and outlives
this program; `lock` is held while it lives.

    attempt   what was prepared      decision  "start" or "fence EPOCH"      lock    held while it runs
    output    what it wrote          end       exit code, time               stop    somebody asked for its end
"""

import base64
import errno
import fcntl
import json
import os
import shutil
import signal
import sys
import threading
import time

PIECE = 48 * 1024  # of output in one message
LOOK_S = 0.05
NEW, NEW_S = ".new.", 60  # in the names of folders that are being made; how long that takes at most
FOUND = 256  # objects in one message

root = sys.argv[1] if len(sys.argv) > 1 else ""
say_lock = threading.Lock()
watched = set()  # tickets; an "abandon" ends them


def say(**message):
    with say_lock:
        try:
            sys.stdout.write(json.dumps(message) + "\n")
            sys.stdout.flush()
        except OSError:
            os._exit(0)  # nobody listens any more


def now_ms():
    return int(time.time() * 1000)


def read(path, default=""):
    try:
        with open(path, encoding="utf-8") as f:
            return f.read()
    except FileNotFoundError:
        return default


def write(path, text):
    """All of it, or nothing, and it stays."""
    with open(path + ".new", "w", encoding="utf-8") as f:
        f.write(text)
        f.flush()
        os.fsync(f.fileno())
    os.rename(path + ".new", path)


class Attempt:
    def __init__(self, ident):
        if not ident or "/" in ident or ident.startswith(".") or NEW in ident:
            raise ValueError("not an id of this engine")
        self.id, self.folder = ident, os.path.join(root, ident)

    def at(self, name):
        return os.path.join(self.folder, name)

    def decide(self, text):
        """What was decided, and whether it was us: the file is complete before it has its name, and has it once."""
        mine = self.at(f"decision.{os.getpid()}.{threading.get_ident()}")
        try:
            write(mine, text)
            os.link(mine, self.at("decision"))
        except FileExistsError:
            return read(self.at("decision")), False
        except FileNotFoundError:
            return "", False  # its folder is gone
        finally:
            if os.path.exists(mine):
                os.unlink(mine)
        return text, True

    def lives(self):
        """Its lock is held."""
        try:
            fd = os.open(self.at("lock"), os.O_RDWR)
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return True
        finally:
            os.close(fd)
        return False

    def end(self):
        """The answer to who asks for its end; None: it has none yet."""
        text = read(self.at("end"))
        if not text:
            return None
        end = json.loads(text)
        if end.get("refused"):
            return {"event": "refused", "exit_code": end["exit_code"], "text": end["refused"]}
        return {"event": "ended", "exit_code": end["exit_code"], "at_ms": end["at_ms"], "started_ms": end["started_ms"],
                "cause": "signal" if end["exit_code"] > 128 else "exit"}

    def state(self):
        """Of one that was decided to start."""
        lives = self.lives()  # before its end is read: it is written while the lock is held
        found = self.end()
        if found:
            return found
        if lives:
            return {"event": "started", "started_ms": int(read(self.at("started"), "0") or 0)}
        return {"event": "unknown", "text": "it is gone, and has left no exit code"}


# ---- requests ----

def prepare(q):
    attempt = Attempt(q["name"])
    if not q["job"].get("command"):
        return {"event": "refused", "text": "command: this engine needs one"}
    wanted = {"run": q["run"], "attempt": q["attempt"], "epoch": q["epoch"], "command": q["job"]["command"],
              "environment": q.get("environment", {})}
    new = f"{attempt.folder}{NEW}{os.getpid()}.{threading.get_ident()}"
    os.makedirs(new)
    write(os.path.join(new, "attempt"), json.dumps(wanted))
    try:
        os.rename(new, attempt.folder)  # a folder is complete before it has its name
    except OSError:
        shutil.rmtree(new)  # it was there already
    return {"event": "prepared", "id": attempt.id}


def run(attempt, ready):
    """In a process of its own: becomes the command, if it is the one that decides. `ready`: the pipe on which it tells."""
    def tell(word):
        try:
            os.write(ready, word.encode())
        except OSError:
            pass  # who asked for it has ended; this goes on

    os.setsid()
    lock = os.open(attempt.at("lock"), os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return tell("lost")
    if not attempt.decide("start")[1]:
        return tell("lost")
    started = now_ms()
    write(attempt.at("started"), str(started))
    wanted = json.loads(read(attempt.at("attempt")))
    out = os.open(attempt.at("output"), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    failed_r, failed_w = os.pipe()  # closed by the exec
    pid = os.fork()
    if pid == 0:
        os.setsid()
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(out, 1)
        os.dup2(out, 2)
        try:
            os.execvpe(wanted["command"][0], wanted["command"], {**os.environ, **wanted["environment"]})
        except OSError as error:
            os.write(failed_w, f"{127 if error.errno == errno.ENOENT else 126} {error.strerror}".encode())
        os._exit(127)
    os.close(failed_w)
    failed = os.read(failed_r, 1000).decode()
    if failed:
        write(attempt.at("end"), json.dumps({"refused": f"{wanted['command'][0]}: {failed.split(' ', 1)[1]}",
                                             "exit_code": int(failed.split()[0])}))
        return tell("done")
    write(attempt.at("pid"), str(pid))
    tell("done")
    os.close(ready)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    write(attempt.at("end"), json.dumps({"exit_code": status if status >= 0 else 128 - status, "at_ms": now_ms(),
                                         "started_ms": started}))
    return None


def release(q):
    attempt = Attempt(q["id"])
    if not os.path.isdir(attempt.folder):
        return {"event": "refused", "text": "it was discarded"}
    r, w = os.pipe()
    pid = os.fork()
    if pid == 0:  # twice, so that it is nobody's child
        if os.fork() == 0:
            try:
                os.closerange(3, w)  # what other threads were about to do is not to wait for this one
                os.closerange(w + 1, 1024)
                with open(os.devnull, "r+b") as null:
                    for fd in (0, 1):
                        os.dup2(null.fileno(), fd)
                run(attempt, w)
            finally:
                os._exit(0)
        os._exit(0)
    os.waitpid(pid, 0)
    os.close(w)
    word = os.read(r, 100).decode()
    os.close(r)
    if word != "done":
        return {"event": "unknown", "text": "it was decided already"}
    return attempt.state()


def fence(q):
    attempt = Attempt(q["id"])
    if not os.path.isdir(attempt.folder):
        if q["may_have_run"]:
            return {"event": "unknown", "text": "its folder is gone"}
        return {"event": "never-ran", "text": "its folder is gone, and without it nothing starts"}
    decided, _ = attempt.decide(f"fence {q['epoch']}")
    if decided.startswith("fence"):
        return {"event": "never-ran", "text": "the decision is a fence"}
    if decided != "start":
        return {"event": "unreachable", "text": "its folder is changing"}
    return attempt.state()


def stop(q):
    attempt = Attempt(q["id"])
    pid = int(read(attempt.at("pid"), "0"))
    grace = q["stop_grace_ms"] / 1000
    if pid and attempt.lives():
        write(attempt.at("stop"), "")
        for sig in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(pid, sig)
            except OSError:
                break
            until = time.monotonic() + grace
            while attempt.lives() and time.monotonic() < until:
                time.sleep(LOOK_S)
    return {"event": "done"}


def discard(q):
    attempt = Attempt(q["id"])
    if os.path.isdir(attempt.folder) and attempt.decide(f"fence {q['epoch']}")[0].startswith("fence"):
        shutil.rmtree(attempt.folder, ignore_errors=True)
    return {"event": "done"}


def watch(q):
    """Its output from where the log ends, then its end."""
    attempt, ticket, at = Attempt(q["id"]), q["ticket"], q.get("log_from", 0)
    told = q["started_ms"] and not q["unresolved"]
    while ticket in watched:
        found = attempt.state()
        try:
            with open(attempt.at("output"), "rb") as f:
                f.seek(at)
                while ticket in watched and (piece := f.read(PIECE)):
                    say(ticket=ticket, log=base64.b64encode(piece).decode(), stream=1)
                    at += len(piece)
        except FileNotFoundError:
            pass
        if found["event"] != "started":
            return found
        if not told:
            say(ticket=ticket, **found)
            told = True
        time.sleep(LOOK_S)
    return None


OPS = {"prepare": prepare, "release": release, "fence": fence, "stop": stop, "discard": discard, "watch": watch}


def answer(q):
    try:
        found = OPS[q["op"]](q)
    except (KeyError, ValueError) as error:
        found = {"event": "refused" if q.get("op") == "prepare" else "unknown", "text": f"this is no request: {error}"}
    except OSError as error:
        found = {"event": "unknown" if q["op"] == "release" else "unreachable", "text": str(error)}
    watched.discard(q["ticket"])
    if found:
        say(ticket=q["ticket"], **found)


# ---- all of it ----

def found():
    objects = []
    for name in os.listdir(root):
        if NEW in name:  # made by one that was killed since
            if time.time() - os.stat(os.path.join(root, name)).st_mtime > NEW_S:
                shutil.rmtree(os.path.join(root, name), ignore_errors=True)
            continue
        attempt = Attempt(name)
        text = read(attempt.at("attempt"))
        if text:
            wanted = json.loads(text)
            objects.append({"id": name, "run": wanted["run"], "attempt": wanted["attempt"], "epoch": wanted["epoch"],
                            "ended": not attempt.lives() and os.path.exists(attempt.at("decision"))})
    for i in range(0, len(objects), FOUND):
        say(found=objects[i:i + FOUND])


def remove(names):
    for name in names:
        attempt = Attempt(name)
        if not attempt.lives() and attempt.decide("fence sweep")[0]:
            shutil.rmtree(attempt.folder, ignore_errors=True)


def main():
    os.makedirs(root, exist_ok=True)
    say(hello=1, type="process.py", version="1", guarantee="at-most-once", max_armed=64)
    for line in sys.stdin:
        message = json.loads(line)
        if "op" in message:
            if message["op"] == "watch":
                watched.add(message["ticket"])
            threading.Thread(target=answer, args=(message,), daemon=True).start()
        elif "ping" in message:
            say(pong=message["ping"])
        elif "list" in message:
            found()
        elif "remove" in message:
            remove(message["remove"])
        elif "abandon" in message:
            watched.clear()
    os._exit(0)  # what runs, runs on


if __name__ == "__main__":
    if not root:
        sys.exit("usage: process.py FOLDER")
    main()
