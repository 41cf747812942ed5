#!/usr/bin/python3
"""gcc's -fanalyzer and clang-tidy over the C files of the program, a case each; and what a release build warns of.

A day looks at the files that changed (with their own header; CHANGED_MAX of them at most) and at one in REST_ONE_IN of
the others: all within REST_ONE_IN days. --whole looks at all; -k PATH_OF_A_FILE_c at one. What includes a header that
changed comes with the days: a file is compiled with all warnings in every build anyway.

That build has sanitizers and little optimization. Some warnings (a text is cut, a value is used before it is set) need
more of that and no sanitizer: so a day compiles all files that changed, and one in RELEASE_ONE_IN of the others, as a
release build does.
"""

import concurrent.futures
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
CHANGED_MAX = 8  # more of them take turns, too
REST_ONE_IN = 24
RELEASE_ONE_IN = 4
OPTIONS = ("-I", "-D", "-std", "-isystem")
HINTS = os.path.join(TOP, "tests", "lint", "analyzers.h")
NOISE = re.compile(r"^(\d+ warnings? (generated|treated)|Suppressed \d|Use -(header|system)|Error while processing)")


def commands():
    """{path from the top: words of the compiler's command} of what meson compiles, without the tests' own programs."""
    with open(os.path.join(BUILD, "compile_commands.json")) as f:
        entries = json.load(f)
    found = {}
    for entry in entries:
        path = os.path.relpath(os.path.join(entry["directory"], entry["file"]), TOP)
        if not path.startswith("tests/"):
            found.setdefault(path, shlex.split(entry["command"]))  # another time: as of an older level, for a test
    return found


def sources():
    """{path from the top: compiler options}"""
    return {path: [w for w in words if w.startswith(OPTIONS)] for path, words in commands().items()}


def release_options(words):
    """Those of a release build, of a command of this one."""
    kept = [w for w in words if w.startswith((*OPTIONS, "-W", "-fPIC")) and w != "-DCRONSCHED_FAULTS"]
    return [*kept, "-O3", "-Werror"]


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
        wanted.add("a_release_build_warns_of_nothing")
        return [n for n in names if n in wanted], sample.words("static analysis", told)

    def test_a_release_build_warns_of_nothing(self):
        found = commands()
        paths = sorted(found)
        if not sample.whole():
            changed, _, rest, _ = todays(paths, sample.changes()[0])
            paths = changed + sample.spread(rest, RELEASE_ONE_IN, sample.day())

        def compiled(path):
            return subprocess.run(["gcc", *release_options(found[path]), "-S", os.path.join(TOP, path), "-o", "/dev/null"],
                                  cwd=BUILD, capture_output=True, text=True, check=False, timeout=lab.scaled(600))
        with concurrent.futures.ThreadPoolExecutor(self.side_by_side) as pool:
            said = [done.stderr for done in pool.map(compiled, paths) if done.returncode != 0]
        if said:
            self.fail("".join(said)[:6000])

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
