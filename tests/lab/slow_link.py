"""Links between namespaces that are late and lossy, for kernels without netem: packets take the way through this process.

    links = SlowLinks([net.spaces["r1"], net.spaces["r2"]], delay_s=0.2, loss=0.01)
    links.close()             # they are as before

Each namespace gets a tunnel device and, for the addresses of the others, a route into it. A thread here hands each packet
on when its time has come.
"""

import ctypes
import fcntl
import heapq
import itertools
import os
import random
import select
import socket
import struct
import threading
import time

from network import CLONE_NEWNET, PREFIX, PREFIX_6
from place import LabError

TUNSETIFF = 0x400454CA
IFF_TUN, IFF_NO_PI = 0x0001, 0x1000
DEVICE = "slow0"
PACKET_MAX = 65536
IDLE_S = 0.5


def open_tunnel(space):
    """A tunnel device in that namespace. A thread of its own goes there, so that this one stays where it is."""
    result = []

    def there():
        with open(f"/proc/{space.pid}/ns/net") as f:
            if ctypes.CDLL(None, use_errno=True).setns(f.fileno(), CLONE_NEWNET) != 0:
                return
        fd = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
        fcntl.ioctl(fd, TUNSETIFF, struct.pack("16sH22x", DEVICE.encode(), IFF_TUN | IFF_NO_PI))
        result.append(fd)

    thread = threading.Thread(target=there)
    thread.start()
    thread.join()
    if not result:
        raise LabError(f"no tunnel device in {space.name}: is there a /dev/net/tun?")
    return result[0]


class SlowLinks:
    def __init__(self, spaces, delay_s, loss, seed=0):
        self.spaces, self.delay_s, self.loss = spaces, delay_s, loss
        self.chance, self.ending, self.passed, self.lost = random.Random(seed), False, 0, 0
        self.fds, self.by_address = [], {}
        for space in spaces:
            fd = open_tunnel(space)
            self.fds.append(fd)
            self.by_address[socket.inet_aton(space.address)] = fd
            self.by_address[socket.inet_pton(socket.AF_INET6, self._six(space))] = fd
        for space in spaces:
            space.run("ip", "link", "set", DEVICE, "up")
            for other in spaces:
                if other is not space:
                    space.run("ip", "route", "add", other.address, "dev", DEVICE, "src", space.address)
                    space.run("ip", "-6", "route", "add", self._six(other), "dev", DEVICE, "src", self._six(space))
        self.thread = threading.Thread(target=self._carry, daemon=True)
        self.thread.start()

    @staticmethod
    def _six(space):
        return PREFIX_6 + space.address.removeprefix(PREFIX)

    def _take(self, fd, waiting, number):
        """All packets that are there."""
        while True:
            try:
                packet = os.read(fd, PACKET_MAX)
            except BlockingIOError:
                return
            to = self.by_address.get(packet[24:40] if packet[0] >> 4 == 6 else packet[16:20])
            if to is None or self.chance.random() < self.loss:
                self.lost += to is not None
                continue
            heapq.heappush(waiting, (time.monotonic() + self.delay_s, next(number), to, packet))

    def _carry(self):
        waiting, number, poll = [], itertools.count(), select.poll()
        for fd in self.fds:
            poll.register(fd, select.POLLIN)
        while not self.ending:
            left = waiting[0][0] - time.monotonic() if waiting else IDLE_S
            for fd, _ in poll.poll(max(0, left * 1000)):
                self._take(fd, waiting, number)
            while waiting and waiting[0][0] <= time.monotonic():
                _, _, to, packet = heapq.heappop(waiting)
                self.passed += 1
                try:
                    os.write(to, packet)
                except OSError:
                    self.lost += 1

    def close(self):
        """The devices go with their descriptors, and the routes with the devices."""
        self.ending = True
        self.thread.join()
        for fd in self.fds:
            os.close(fd)
