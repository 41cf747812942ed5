#!/usr/bin/python3
"""Runs a test program beside an ensemble of its own: zookeeper_servers.py [--small|--64m] PROGRAM [ARGUMENT...]

The program finds "HOST:PORT,HOST:PORT,HOST:PORT" in ZOOKEEPER_SERVERS, and may order (tests/lab/orders.py), with the
servers counted from 0: "kill N", "pause N", "resume N", "start N", and "start": all. They end with this process.

--small: one server, which enforces quotas, takes no request above 100 KB, and may be reconfigured by anybody.
--64m: one server, which has 64 MB of memory."""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lab"))
import lab  # noqa: E402
import orders  # noqa: E402
import pace  # noqa: E402


KINDS = {"--small": lab.SMALL, "--64m": {"java": ["-Xmx64m"]}}


def main():
    reason = lab.why_no_zookeeper()
    if reason:
        print(f"1..0 # SKIP {reason}")
        return 77  # meson's word for it
    pace.patience(say=True)  # for the program as well
    folder, zk, command = lab.Folder("zookeeper-servers"), None, sys.argv[1:]
    kind = KINDS.get(command[0])

    def obey(order):
        verb, *numbers = order.split()
        {"kill": zk.kill, "start": zk.start, "pause": zk.pause, "resume": zk.resume}[verb](*map(int, numbers))

    try:
        zk = lab.ZooKeeper(folder, **(kind or {"servers": 3})).start()
        return orders.run(command[1 if kind else 0:], obey, {"ZOOKEEPER_SERVERS": zk.connect})
    finally:
        try:
            if zk:
                zk.close()
        finally:
            folder.close()


if __name__ == "__main__":
    sys.exit(main())
