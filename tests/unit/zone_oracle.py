#!/usr/bin/env python3
"""Every zone of tzdata against Python's zoneinfo: zone_oracle.py ZONE_DUMP [--zdump].

The offsets at every change of the reader's table, a second before it, and on the first day of each quarter of
1970-2199 must be Python's; for the system's files and, where zic is there, for slim and fat files made from
tzdata.zi. With --zdump the list of changes from 1970 on must also be zdump's own (slower).
"""

import bisect
import calendar
import datetime
import os
import shutil
import subprocess
import sys
import tempfile
import time
import zoneinfo

FOLDER = "/usr/share/zoneinfo"
# zic of glibc 2.36 leaves out the last change of this slim file, so that its rule does not fit the time before; Python
# and zdump then follow the rule, and are a week wrong in 2022. Ours stays with the last change until the rule's next.
INCONSISTENT = {"America/Ojinaga"}
SKIP = {"posix", "right", "localtime", "posixrules"}
UTC = datetime.timezone.utc
FIRST = calendar.timegm((1970, 1, 1, 0, 0, 0))
END = calendar.timegm((2200, 1, 1, 0, 0, 0))
SAMPLES = [calendar.timegm((y, m, 1, 0, 0, 0)) for y in range(1970, 2200) for m in (1, 4, 7, 10)]


def names(folder):
    found = []
    for path, folders, files in os.walk(folder):
        below = os.path.relpath(path, folder)
        if below == ".":
            folders[:] = [f for f in folders if f not in SKIP]
        for name in files:
            with open(os.path.join(path, name), "rb") as file:
                if file.read(4) == b"TZif" and name not in SKIP:
                    found.append(name if below == "." else below + "/" + name)
    return sorted(found)


def dump(tool, folder, zones):
    out = subprocess.run([tool, folder], input="\n".join(zones) + "\n", text=True, check=True, stdout=subprocess.PIPE)
    tables, table = {}, None
    for line in out.stdout.splitlines():
        parts = line.split()
        if len(parts) == 1:
            table = tables[line] = ([], [])
        else:
            table[0].append(int(parts[0]))
            table[1].append(int(parts[1]))
    return tables


def offset(table, at):
    return table[1][bisect.bisect_right(table[0], at) - 1]


def against_python(folder, tables):
    wrong = asked = 0
    for name, table in tables.items():
        with open(os.path.join(folder, name), "rb") as file:
            zone = zoneinfo.ZoneInfo.from_file(file, name)
        instants = SAMPLES + [x + d for x in table[0][1:] if x < END for d in (-1, 0)]
        for at in instants:
            if at < -62000000000:
                continue
            want = datetime.datetime.fromtimestamp(at, UTC).astimezone(zone).utcoffset().total_seconds()
            asked += 1
            if offset(table, at) != want:
                wrong += 1
                print(f"{name} at {at}: {offset(table, at)}, not {want}")
    return wrong, asked


def against_zdump(folder, tables):
    wrong = asked = 0
    for name, table in tables.items():
        out = subprocess.run(["zdump", "-v", "-c", "1969,2201", os.path.join(folder, name)], text=True, check=True,
                             stdout=subprocess.PIPE, env={"LC_ALL": "C", "PATH": os.environ["PATH"]}).stdout
        lines = [line.split() for line in out.splitlines() if "gmtoff=" in line]
        points = [(calendar.timegm(time.strptime(" ".join(p[2:6]), "%b %d %H:%M:%S %Y")), int(p[-1].split("=")[1]))
                  for p in lines]
        changes = [at for i, (at, off) in enumerate(points)
                   if i and points[i - 1][1] != off and points[i - 1][0] == at - 1 and FIRST <= at < END]
        ours = [at for at in table[0] if FIRST <= at < END]
        asked += len(changes)
        if changes != ours or any(offset(table, at) != off for at, off in points if FIRST <= at < END):
            wrong += 1
            print(f"{name}: zdump sees {len(changes)} changes, the reader {len(ours)}")
    return wrong, asked


def check(what, tool, folder, zdump):
    zones = names(folder)
    tables = dump(tool, folder, zones)
    if what == "slim":
        for name in INCONSISTENT:
            tables.pop(name, None)
            zones = [z for z in zones if z != name]
    wrong, asked = against_python(folder, tables)
    if len(tables) != len(zones):
        wrong += 1
    print(f"{what}: {len(zones)} zones, {asked} offsets, {wrong} wrong")
    if zdump:
        bad, asked = against_zdump(folder, tables)
        print(f"{what}: {asked} changes of zdump, {bad} zones wrong")
        wrong += bad
    return wrong


def main():
    tool, zdump = sys.argv[1], "--zdump" in sys.argv[2:]
    wrong = check("system", tool, FOLDER, zdump)
    zic = shutil.which("zic", path=os.environ["PATH"] + ":/usr/sbin")
    source = os.path.join(FOLDER, "tzdata.zi")
    if zic and os.path.exists(source):
        for form in ("slim", "fat"):
            with tempfile.TemporaryDirectory() as folder:
                subprocess.run([zic, "-b", form, "-d", folder, source], check=True)
                wrong += check(form, tool, folder, zdump and form == "slim")
    sys.exit(1 if wrong else 0)


main()
