"""Runs a test program that gives orders while it runs: what only the one who started its servers can do.

The program finds the number of a socket in TEST_ORDERS, writes one order a line, and reads "ok" or "failed" for it
(tests/integration/orders.h).
"""

import os
import socket
import subprocess
import sys


def run(command, obey, environment):
    """obey(order) does it, or raises. The program's exit status."""
    ours, theirs = socket.socketpair()
    program = subprocess.Popen(command, pass_fds=(theirs.fileno(),),
                               env=dict(os.environ, **environment, TEST_ORDERS=str(theirs.fileno())))
    theirs.close()
    with ours, ours.makefile() as orders:
        for order in orders:
            try:
                obey(order.strip())
                ours.sendall(b"ok\n")
            except Exception as e:  # the program is told, and gives up
                print(f"# {order.strip()}: {e}", file=sys.stderr)
                ours.sendall(b"failed\n")
    return program.wait()
