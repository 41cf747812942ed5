#!/usr/bin/python3
"""Runs a test program against a dockerd of its own: docker_engine.py PROGRAM [ARGUMENT...]

The program gives orders on descriptor 3 and reads the replies on 4; see docker_fixture.h. Whatever becomes of it,
the engine and all that it started ends with this process."""

import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lab"))
import lab  # noqa: E402


def obey(dockerd, word):
    if word == "kill":
        dockerd.kill()
    elif word == "stop":
        dockerd.stop()
    else:
        dockerd.live_restore = word == "start-live"
        dockerd.start()


def main():
    reason = lab.why_no_docker()
    if reason:
        print(f"1..0 # SKIP {reason}")
        return 0
    folder = lab.Folder("docker-engine")
    dockerd = None
    try:
        dockerd = lab.Dockerd(folder)
        orders, replies = os.pipe(), os.pipe()

        def plumb():
            ours, theirs = os.dup(orders[1]), os.dup(replies[0])
            os.dup2(ours, 3)
            os.dup2(theirs, 4)

        program = subprocess.Popen(
            sys.argv[1:], preexec_fn=plumb, pass_fds=(3, 4),
            env=dict(os.environ, DOCKER_SOCKET=dockerd.socket, DOCKER_FOLDER=folder.make("work", mode=0o777)))
        os.close(orders[1])
        with os.fdopen(orders[0]) as words:
            for word in words:
                try:
                    obey(dockerd, word.strip())
                    os.write(replies[1], b"ok\n")
                except Exception as e:  # the program is told, and gives up
                    print(f"# {word.strip()}: {e}", file=sys.stderr)
                    os.write(replies[1], b"failed\n")
        return program.wait()
    finally:
        if dockerd:
            dockerd.close()
        folder.close()


if __name__ == "__main__":
    sys.exit(main())
