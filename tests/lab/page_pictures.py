#!/usr/bin/python3
"""Makes the pictures of the page for contrib/guide/pictures, with a server and jobs of its own.

usage: CRONSCHED_BUILD=FOLDER tests/lab/page_pictures.py [FOLDER]
"""

import collections
import os
import struct
import sys
import time
import zlib

import lab
from page_checks import Checker
from place import Folder
from zookeeper import free_ports

BYTES_MAX = 60 * 1024
# name, path, width, dark
PICTURES = (("now", "/ui/", 1000, False), ("jobs", "/ui/jobs?sort=name", 1000, False), ("jobs-narrow", "/ui/jobs?sort=name", 320, True),
            ("tonight", "/ui/tonight?from=2026-12-01T18:00:00Z&to=2026-12-02T02:00:00Z", 1000, False), ("run", "/ui/runs/{run}", 1000, True),
            ("explain", "/ui/explain?job=load&time={time}", 1000, False), ("audit", "/ui/audit?since={since}", 1000, False),
            ("cluster", "/ui/cluster", 1000, False))
JOBS = {
    "backup": {"schedule": "30 1 * * *", "timezone": "Europe/Paris", "command": ["true"], "owner": "ops", "description": "Copies the database away.",
               "labels": {"team": "storage"}},
    "invoices": {"schedule": "0 6 1 * *", "timezone": "Europe/Paris", "command": ["true"], "owner": "alice", "labels": {"team": "finance"}},
    "load": {"schedule": "* * * * * *", "command": ["sh", "-c", "echo loading; sleep 2.5; echo done"], "owner": "bob", "labels": {"team": "finance"},
             "description": "Takes longer than a second: every other time is passed over."},
    "mail": {"schedule": "*/10 * * * *", "command": ["sh", "-c", "echo 'no route to mail.example' >&2; exit 1"], "owner": "ops"},
    "report": {"schedule": "0 2-5 * * mon-fri", "timezone": "America/New_York", "command": ["true"], "owner": "alice"},
}


def rows_of(data):
    """(width, rows of RGB bytes) of a PNG of 8 bits without interlacing, as the browser makes them."""
    at, packed = 8, b""
    while at < len(data):
        size, kind = struct.unpack(">I4s", data[at:at + 8])
        body = data[at + 8:at + 8 + size]
        if kind == b"IHDR":
            width, height, depth, colour = struct.unpack(">IIBB", body[:10])
            assert depth == 8 and colour in (2, 6)
        packed += body if kind == b"IDAT" else b""
        at += 12 + size
    n, raw, before, rows = 3 if colour == 2 else 4, zlib.decompress(packed), None, []
    for y in range(height):
        line = bytearray(raw[y * (width * n + 1) + 1:(y + 1) * (width * n + 1)])
        before, kind = before or bytearray(width * n), raw[y * (width * n + 1)]
        for i in range(len(line)) if kind else ():
            a, b, c = line[i - n] if i >= n else 0, before[i], before[i - n] if i >= n else 0
            paeth = min((abs(b - c), 0, a), (abs(a - c), 1, b), (abs(a + b - 2 * c), 2, c))[2]
            line[i] = (line[i] + (0, a, b, (a + b) // 2, paeth)[kind]) & 255
        before = line
        rows.append([bytes(line[i:i + 3]) for i in range(0, len(line), n)])
    return width, rows


def smaller(data):
    """The same picture with at most 256 colours: those of letters' edges are rounded, the frequent ones are kept."""
    width, rows = rows_of(data)
    counts = collections.Counter(pixel for row in rows for pixel in row)
    exact = [pixel for pixel, _ in counts.most_common(24)]
    rounded = {pixel: pixel if pixel in exact else bytes((v >> 5) * 255 // 7 for v in pixel) for pixel in counts}
    palette = sorted(set(rounded.values()), key=lambda p: p not in exact)[:256]
    number = {pixel: palette.index(r) if r in palette else 0 for pixel, r in rounded.items()}
    packed = zlib.compress(b"".join(b"\0" + bytes(number[pixel] for pixel in row) for row in rows), 9)
    chunks = ((b"IHDR", struct.pack(">IIBBBBB", width, len(rows), 8, 3, 0, 0, 0)), (b"PLTE", b"".join(palette)), (b"IDAT", packed), (b"IEND", b""))
    return data[:8] + b"".join(struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
                               for kind, body in chunks)


def pictures(target):
    place = Folder("pictures")
    port, = free_ports(1)
    server = lab.Server(place, config={"cluster": "prod", "listen": [f"unix:{place.join('server')}/cronsched.sock", f"127.0.0.1:{port}"]})
    browser = None
    try:
        since = lab.instant(time.time())
        server.start()
        server.apply(JOBS)
        run = [server.cli.call("trigger", job, "--wait", "-o", "json").json()["run"] for job in ("backup", "mail", "mail", "report", "mail")][1]
        server.cli.check("pause", "invoices", "--reason", "the books are closed")
        server.kill()  # so that there is a take-over to see
        server.start()
        time.sleep(12)
        words = {"run": run, "since": since, "time": lab.instant(time.time() - 3)}
        browser = Checker(place)
        browser.cdp("Emulation.setScrollbarsHidden", hidden=True)
        browser.get(server.cli.check("ui", "--print").out.strip())
        browser.find("form.card button").click()
        for name, path, width, dark in PICTURES:
            browser.look(width, dark)
            browser.get(f"http://127.0.0.1:{port}{path.format(**words)}")
            browser.value("document.querySelector('details')?.setAttribute('open', '')")
            data = smaller(browser.picture())
            with open(os.path.join(target, f"{name}.png"), "wb") as f:
                f.write(data)
            print(f"{name}: {len(data)} bytes{'' if len(data) <= BYTES_MAX else ', which is too much'}")
    finally:
        if browser:
            browser.close()
        server.stop()
        place.close()


if __name__ == "__main__":
    pictures(sys.argv[1] if len(sys.argv) > 1 else os.path.join(lab.TOP, "contrib", "guide", "pictures"))
