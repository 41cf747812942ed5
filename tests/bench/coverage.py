#!/usr/bin/python3
"""What share of the lines each kind of test reaches, by room, and the files that all together reach least. By hand; needs
gcovr. What a process had reached that was killed by SIGKILL is not counted.

  tests/bench/coverage.py [BUILD (build-coverage)]
"""

import json
import os
import subprocess
import sys

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
ROOMS = ("jobs", "leader", "cronsched")
LEAST = 15  # files that are listed


def run(*command, **environment):
    return subprocess.run(command, cwd=TOP, env={**os.environ, **environment}, check=False, stdout=subprocess.PIPE,
                          stderr=subprocess.DEVNULL, text=True, errors="replace")


def kinds(build):
    """Name: the commands that are that kind."""
    def meson(suite):
        return [["meson", "test", "-C", build, "--no-rebuild", "--suite", suite]]

    def suites(folder):
        path = os.path.join(TOP, "tests", folder)
        return [[os.path.join(path, name)] for name in sorted(os.listdir(path)) if name.endswith("_test.py")]

    return {"unit": meson("unit"), "fuzz corpora": meson("fuzz"), "engines, coordinator": meson("integration"),
            "simulators": suites("sim"), "the program from outside": suites("integration")}


def gcovr(build, *more):
    return run("gcovr", "--root", TOP, *[w for room in ROOMS for w in ("--filter", f"{room}/")], *more, build)


def by_room(report):
    """Room: (lines reached, lines)."""
    sums = {room: [0, 0] for room in ROOMS}
    for file in report["files"]:
        room = file["filename"].split("/")[0]
        sums[room][0] += file["line_covered"]
        sums[room][1] += file["line_total"]
    return sums


def main():
    build = os.path.abspath(sys.argv[1] if len(sys.argv) > 1 else os.path.join(TOP, "build-coverage"))
    if not os.path.exists(build):
        run("meson", "setup", build, "-Db_coverage=true", "-Dfaults=true", CC="gcc")
    made = run("ninja", "-C", build)
    if made.returncode != 0:
        sys.exit(made.stdout)
    print(f"{'kind':<28}" + "".join(f"{room:>12}" for room in ROOMS), flush=True)
    traces = []
    for name, commands in kinds(build).items():
        run("find", build, "-name", "*.gcda", "-delete")
        for command in commands:
            run(*command, CRONSCHED_BUILD=build)
        traces += ["--add-tracefile", os.path.join(build, f"{len(traces)}.json")]
        gcovr(build, "--json", traces[-1])
        summary = json.loads(gcovr(build, "--json-summary", "-").stdout)
        print(f"{name:<28}" + "".join(f"{100 * a / b:>11.1f}%" for a, b in by_room(summary).values()), flush=True)
    whole = json.loads(run("gcovr", "--root", TOP, *traces, "--json-summary", "-").stdout)
    print(f"{'all':<28}" + "".join(f"{100 * a / b:>11.1f}%" for a, b in by_room(whole).values()))
    print("\nfiles reached least:")
    for file in sorted((f for f in whole["files"] if f["line_total"]), key=lambda f: f["line_percent"])[:LEAST]:
        print(f"{file['line_percent']:>6.1f}%  {file['filename']}  ({file['line_total'] - file['line_covered']} lines not)")


if __name__ == "__main__":
    main()
