#!/usr/bin/python3
"""The house style, as far as a machine can tell: formatting, banned functions, the direction of includes, file
lengths, scripts, the files that every folder has to have."""

import os
import re
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lab"))
import lab  # noqa: E402

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
ROOMS = ("cronsched", "leader", "jobs", "tests", "contrib")
TOP_FILES = {"meson.build", "meson_options.txt", "README.md", "LICENSE"}
BANNED = ("asctime", "localtime", "strcpy", "strcat", "sprintf", "vsprintf", "atoi", "atol", "system", "strtok", "gets")
# What the domain may not know: the other rooms, the loop, and whatever brings time, chance or the environment in.
FORBIDDEN_INCLUDES = {
    "jobs": r'"(leader|cronsched)/|<(uv|zookeeper|curl|microhttpd)',
    "leader": r'"cronsched/|<(curl|microhttpd)',
}
FORBIDDEN_CALLS_IN_JOBS = ("time", "clock_gettime", "gettimeofday", "getenv", "rand", "random", "getrandom")
LINES_MAX = 900


def tracked():
    """Paths of the tree's files, from git where there is one."""
    done = subprocess.run(["git", "-c", f"safe.directory={TOP}", "ls-files"], cwd=TOP, capture_output=True, text=True,
                          check=False)
    if done.returncode == 0:
        return sorted(p for p in done.stdout.split("\n") if p and os.path.exists(os.path.join(TOP, p)))
    found = []
    for folder, folders, files in os.walk(TOP):
        folders[:] = [f for f in folders if not f.startswith((".git", "build"))]
        found += [os.path.relpath(os.path.join(folder, f), TOP) for f in files]
    return sorted(found)


def read(path):
    with open(os.path.join(TOP, path), errors="replace") as f:
        return f.read()


def without_comments_and_strings(text):
    """C with comments and literals blanked, lines kept."""
    def blank(found):
        return re.sub(r"[^\n]", " ", found.group(0))
    return re.sub(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', blank, text, flags=re.S)


def calls(path, names):
    pattern = re.compile(rf"(?<![\w.>])({'|'.join(names)})\s*\(")
    for number, line in enumerate(without_comments_and_strings(read(path)).split("\n"), 1):
        found = pattern.search(line)
        if found:
            yield f"{path}:{number}: {found.group(1)}"


class Style(lab.Suite):
    @classmethod
    def setUpClass(cls):
        cls.files = tracked()
        cls.c = [p for p in cls.files if p.endswith((".c", ".h"))]
        cls.shell = [p for p in cls.files if p.endswith(".sh") or (
            os.path.isfile(os.path.join(TOP, p)) and re.match(r"#!.*\b(ba)?sh\b", read(p)[:40]))]

    def test_c_files_are_formatted(self):
        done = subprocess.run(["clang-format", "--dry-run", "-Werror", "--ferror-limit=1", *self.c], cwd=TOP,
                              capture_output=True, text=True, check=False)
        self.assertNone(sorted({line.split(":")[0] for line in done.stderr.split("\n") if ": error: " in line}))

    def test_no_banned_function_is_called(self):
        wrong = [w for path in self.c for w in calls(path, BANNED)]
        wrong += [f"{path}: setenv(TZ)" for path in self.c if re.search(r'setenv\("TZ"', read(path))]
        self.assertNone(wrong)

    def test_includes_point_one_way(self):
        wrong = []
        for path in self.c:
            pattern = FORBIDDEN_INCLUDES.get(path.split("/")[0])
            for number, line in enumerate(read(path).split("\n"), 1):
                include = re.match(r'\s*#\s*include\s+(["<].*)', line)
                if not include:
                    continue
                if pattern and re.search(pattern, include.group(1)):
                    wrong.append(f"{path}:{number}: {include.group(1)}")
                own = re.match(r'"([^"]+)"', include.group(1))
                if own and not os.path.exists(os.path.join(TOP, own.group(1))):
                    wrong.append(f"{path}:{number}: {own.group(1)} is not written from the root")
        self.assertNone(wrong)

    def test_the_domain_asks_for_no_clock_chance_or_environment(self):
        self.assertNone(w for path in self.c if path.startswith("jobs/")
                        for w in calls(path, FORBIDDEN_CALLS_IN_JOBS))

    def test_headers_say_what_they_are_for(self):
        wrong = []
        for path in self.c:
            text = read(path)
            if path.endswith(".h") and not text.startswith("/*"):
                wrong.append(f"{path}: opens without a comment")
            if path.endswith(".h") and "#pragma once" not in text:
                wrong.append(f"{path}: has no #pragma once")
        self.assertNone(wrong)

    def test_no_file_is_too_long(self):
        self.assertNone(f"{p}: {n} lines" for p in self.c for n in [read(p).count("\n")] if n > LINES_MAX)

    def test_nothing_is_left_to_do(self):
        words = re.compile(r"\b(TO" r"DO|FIX" r"ME|XX" r"X|not impl" r"emented)\b")
        self.assertNone(f"{p}:{n}: {line.strip()[:80]}" for p in self.c for n, line in
                        enumerate(read(p).split("\n"), 1) if words.search(line))

    def test_every_source_is_built_and_every_unit_test_registered(self):
        wrong = []
        for path in self.c:
            folder, name = os.path.split(path)
            rooms = [folder]
            while os.path.dirname(rooms[-1]):
                rooms.append(os.path.dirname(rooms[-1]))
            text = "".join(read(os.path.join(r, "meson.build")) for r in rooms
                           if os.path.exists(os.path.join(TOP, r, "meson.build")))
            stem = name[:-2]
            named = name in text or (stem.startswith("test_") and f"'{stem[5:]}'" in text) or (
                stem.startswith("fuzz_") and f"'{stem[5:]}'" in text)
            if name.endswith(".c") and not named:
                wrong.append(f"{path} is in no meson.build")
        self.assertNone(wrong)

    def test_the_top_holds_what_the_design_names(self):
        top = {p.split("/")[0] for p in self.files}
        extra = {t for t in top if t not in ROOMS and t not in TOP_FILES and not t.startswith(".")}
        self.assertEqual(set(), extra)

    def test_every_folder_says_what_lives_there(self):
        self.assertNone(f"{room} has no README.md" for room in ROOMS if f"{room}/README.md" not in self.files)
        self.assertIn("README.md", self.files)
        self.assertIn("LICENSE", self.files)

    def test_links_in_texts_lead_somewhere(self):
        wrong = []
        for path in (p for p in self.files if p.endswith(".md")):
            for link in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", read(path)):
                target = os.path.join(TOP, os.path.dirname(path), link)
                if "://" not in link and not os.path.exists(target):
                    wrong.append(f"{path}: {link}")
        self.assertNone(wrong)

    def test_scripts_pass_shellcheck(self):
        self.assertTrue(self.shell)
        done = subprocess.run(["shellcheck", "-x", *self.shell], cwd=TOP, capture_output=True, text=True, check=False)
        self.assertEqual("", done.stdout + done.stderr)

    def test_scripts_may_be_run(self):
        commands = ["contrib/quickstart", "contrib/test", "contrib/lint", ".ci/run"]
        self.assertNone(f"{p} is not executable" for p in commands if not os.access(os.path.join(TOP, p), os.X_OK))
        self.assertIn("contrib/test", read(".ci/run"))

    def test_python_compiles(self):
        for path in (p for p in self.files if p.endswith(".py")):
            compile(read(path), path, "exec")


if __name__ == "__main__":
    lab.main()
