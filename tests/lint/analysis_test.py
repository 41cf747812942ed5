#!/usr/bin/python3
"""gcc's -fanalyzer and clang-tidy over every C file of the program, a case each."""

import json
import os
import re
import shlex
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lab"))
import lab  # noqa: E402

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.path.abspath(os.environ.get("CRONSCHED_BUILD", os.path.join(TOP, "build-test")))
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


class Analysis(lab.Suite):
    side_by_side = os.cpu_count() or 1

    def gcc(self, path, options):
        # A leak that it sees behind every call that takes a pointer over is none; the sanitizers look for leaks.
        done = subprocess.run(["gcc", *options, "-I" + TOP, *hints(path), "-O1", "-fanalyzer", "-Werror",
                               "-Wno-analyzer-malloc-leak", "-Wno-analyzer-file-leak",
                               "-c", os.path.join(TOP, path), "-o", "/dev/null"],
                              cwd=BUILD, capture_output=True, text=True, check=False, timeout=600)
        if done.returncode != 0:
            said = done.stderr.splitlines()
            self.fail("\n".join([line for line in said if ": error: " in line] + said[:40]))

    def tidy(self, path):
        extra = [f"--extra-arg-before={word}" for word in hints(path)]
        done = subprocess.run(["clang-tidy", "--quiet", "-p", BUILD, *extra, os.path.join(TOP, path)], cwd=TOP,
                              capture_output=True, text=True, check=False, timeout=600)
        said = [line for line in (done.stdout + done.stderr).split("\n") if line and not NOISE.match(line)]
        if said:
            self.fail("\n".join(said[:60]))


def add(path, options):
    name = re.sub(r"[^\w]", "_", path)
    setattr(Analysis, f"test_gcc_{name}", lambda self: self.gcc(path, options))
    setattr(Analysis, f"test_tidy_{name}", lambda self: self.tidy(path))


for _path, _options in sources().items():
    add(_path, _options)

if __name__ == "__main__":
    lab.main()
