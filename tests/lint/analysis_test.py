#!/usr/bin/python3
"""gcc's -fanalyzer and clang-tidy over the C files of the program, a case each.

A day looks at the files that changed (with their own header; CHANGED_MAX of them at most) and at one in REST_ONE_IN of
the others: all within REST_ONE_IN days. --whole looks at all; -k PATH_OF_A_FILE_c at one. What includes a header that
changed comes with the days: a file is compiled with all warnings in every build anyway.
"""

import json
import os
import re
import shlex
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lab"))
import lab  # noqa: E402
import sample  # noqa: E402

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.path.abspath(os.environ.get("CRONSCHED_BUILD", os.path.join(TOP, "build-test")))
CHANGED_MAX = 12  # more of them take turns, too
REST_ONE_IN = 16
HINTS = os.path.join(TOP, "tests", "lint", "analyzers.h")
NOISE = re.compile(r"^(\d+ warnings? (generated|treated)|Suppressed \d|Use -(header|system)|Error while processing)")


def sources():
    """{path from the top: compiler options} of what meson compiles, without the tests' own programs."""
    with open(os.path.join(BUILD, "compile_commands.json")) as f:
        entries = json.load(f)
    found = {}
    for entry in entries:
        path = os.path.relpath(os.path.join(entry["directory"], entry["file"]), TOP)
        if not path.startswith("tests/"):
            found[path] = [w for w in shlex.split(entry["command"]) if w.startswith(("-I", "-D", "-std", "-isystem"))]
    return found


def hints(path):
    return [] if path == "jobs/base/error.c" else ["-include", HINTS]


def case_of(path):
    return re.sub(r"[^\w]", "_", path)


def todays(paths, files):
    """(paths that changed, today's of them, the others, today's of those). files: None when nobody knows what changed."""
    stems = {os.path.splitext(f)[0] for f in files or paths if f.endswith((".c", ".h"))}
    changed = [p for p in paths if os.path.splitext(p)[0] in stems]
    rest = [p for p in paths if p not in changed]
    turns = -(-len(changed) // CHANGED_MAX) or 1
    return changed, sample.spread(changed, turns, sample.day()), rest, sample.spread(rest, REST_ONE_IN, sample.day())


class Analysis(lab.Suite):
    side_by_side = os.cpu_count() or 1

    @classmethod
    def sample(cls, names):
        paths = sorted(sources())
        if sample.whole():
            return names, f"static analysis: all {len(paths)} files"
        changed, of_changed, rest, of_rest = todays(paths, sample.changes()[0])
        told = [f"{len(of_changed)} of {len(changed)} files that changed", f"{len(of_rest)} of {len(rest)} others"]
        wanted = {f"{tool}_{case_of(p)}" for p in of_changed + of_rest for tool in ("gcc", "tidy")}
        return [n for n in names if n in wanted], sample.words("static analysis", told)

    def gcc(self, path, options):
        # A leak that it sees behind every call that takes a pointer over is none; the sanitizers look for leaks.
        done = subprocess.run(["gcc", *options, "-I" + TOP, *hints(path), "-O1", "-fanalyzer", "-Werror",
                               "-Wno-analyzer-malloc-leak", "-Wno-analyzer-file-leak",
                               "-c", os.path.join(TOP, path), "-o", "/dev/null"],
                              cwd=BUILD, capture_output=True, text=True, check=False, timeout=lab.scaled(600))
        if done.returncode != 0:
            said = done.stderr.splitlines()
            self.fail("\n".join([line for line in said if ": error: " in line] + said[:40]))

    def tidy(self, path):
        extra = [f"--extra-arg-before={word}" for word in hints(path)]
        done = subprocess.run(["clang-tidy", "--quiet", "-p", BUILD, *extra, os.path.join(TOP, path)], cwd=TOP,
                              capture_output=True, text=True, check=False, timeout=lab.scaled(600))
        said = [line for line in (done.stdout + done.stderr).split("\n") if line and not NOISE.match(line)]
        if said:
            self.fail("\n".join(said[:60]))


def add(path, options):
    name = case_of(path)
    setattr(Analysis, f"test_gcc_{name}", lambda self: self.gcc(path, options))
    setattr(Analysis, f"test_tidy_{name}", lambda self: self.tidy(path))


for _path, _options in sources().items():
    add(_path, _options)

if __name__ == "__main__":
    lab.main()
