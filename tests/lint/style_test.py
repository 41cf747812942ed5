#!/usr/bin/python3
"""The house style, as far as a machine can tell: formatting, banned functions, the direction of includes, file
lengths, scripts, the files that every folder has to have."""

import glob
import graphlib
import json
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
# Which folder's headers a folder may include, besides its own. Includes go down: the table has no circle.
JOBS = ("jobs/base", "jobs/time", "jobs/yaml", "jobs/definition", "jobs/state", "jobs/history", "jobs/engine",
        "jobs/audit", "jobs/scheduler")
FOLDER_INCLUDES = {
    "jobs/base": (),
    "jobs/time": ("jobs/base",),
    "jobs/yaml": ("jobs/base",),
    "jobs/history": ("jobs/base", "jobs/time"),
    "jobs/definition": ("jobs/base", "jobs/time", "jobs/yaml"),
    "jobs/state": ("jobs/base", "jobs/time", "jobs/history", "jobs/definition"),
    "jobs/engine": ("jobs/base", "jobs/time", "jobs/definition"),
    "jobs/audit": ("jobs/base", "jobs/time", "jobs/history", "jobs/definition", "jobs/state"),
    "jobs/scheduler": ("jobs/base", "jobs/time", "jobs/history", "jobs/definition", "jobs/state", "jobs/engine"),
    "leader/worker": ("jobs/base",),
    "leader": ("leader/worker", "jobs/base"),
    "leader/replicated": ("leader", "jobs/base", "jobs/state"),
    "leader/zookeeper": ("leader", "leader/worker", "jobs/base"),
    "leader/embedded": ("leader/worker", "jobs/base", "jobs/state"),
    "cronsched/command": ("jobs/base",),
    "cronsched/config": ("cronsched/command", "cronsched/io", "jobs/base", "jobs/yaml"),
    "cronsched/io": ("leader/worker", "jobs/base", "jobs/time", "jobs/definition", "jobs/state"),
    "cronsched/http": ("cronsched/io", "leader/worker", "jobs/base"),
    "cronsched/engines": ("leader/worker", "jobs/base", "jobs/engine", "jobs/state"),
    "cronsched/engines/tasks": ("leader/worker", "jobs/base", "jobs/engine", "jobs/state"),
    "cronsched/engines/docker": ("cronsched/engines/tasks", "cronsched/io", "leader/worker", "jobs/base", "jobs/time", "jobs/definition", "jobs/engine", "jobs/state"),
    "cronsched/engines/swarm": ("cronsched/engines/docker", "cronsched/engines/tasks", "cronsched/io", "leader/worker", "jobs/base",
                                "jobs/definition", "jobs/engine", "jobs/state"),
    "cronsched/engines/kubernetes": ("cronsched/engines/docker", "cronsched/engines/tasks", "cronsched/io", "leader/worker",
                                     "jobs/base", "jobs/time", "jobs/yaml", "jobs/definition", "jobs/engine", "jobs/state"),
    "cronsched/engines/plugin": ("cronsched/engines/tasks", "cronsched/io", "leader/worker", "jobs/base", "jobs/definition",
                                 "jobs/engine", "jobs/state"),
    "cronsched/engines/process": ("cronsched/io", "cronsched/command", "leader/worker", "jobs/base", "jobs/definition",
                                  "jobs/engine", "jobs/state"),
    "cronsched/page": ("jobs/base", "jobs/time"),
    "cronsched/api": ("cronsched/http", "cronsched/io", "cronsched/page", "leader/worker", "leader/zookeeper", *JOBS),
    "cronsched/cluster": ("cronsched/api", "cronsched/config", "cronsched/http",
                          "cronsched/io", "leader", "leader/replicated", "leader/worker", "leader/zookeeper", *JOBS),
    "cronsched/cli": ("cronsched/command", "cronsched/config", "cronsched/http", "cronsched/io", "jobs/base",
                      "jobs/time", "jobs/definition", "jobs/audit", "jobs/state"),
    "cronsched/drill": ("cronsched/cli", "cronsched/command", "jobs/base", "jobs/time"),
    "cronsched/server": ("cronsched/api", "cronsched/cluster", "cronsched/command", "cronsched/config",
                         "cronsched/engines", "cronsched/engines/docker", "cronsched/engines/kubernetes",
                         "cronsched/engines/plugin", "cronsched/engines/process",
                         "cronsched/engines/swarm", "cronsched/io",
                         "leader/replicated", "leader/embedded", "leader/worker", "leader/zookeeper", *JOBS),
    "cronsched/conformance": ("cronsched/command", "cronsched/config", "cronsched/io", "cronsched/server", "leader/worker", "jobs/base",
                              "jobs/definition", "jobs/engine", "jobs/state"),
    "cronsched": ("cronsched/command", "jobs/base"),
}
# Each library has its folders; nothing else knows it. A name that ends in / stands for all headers below it.
LIBRARY_FOLDERS = {
    "uv.h": ("leader", "leader/zookeeper", "leader/embedded", "leader/worker", "cronsched/io", "cronsched/http", "cronsched/api",
             "cronsched/cluster", "cronsched/engines", "cronsched/engines/docker",
             "cronsched/engines/kubernetes", "cronsched/engines/process", "cronsched/engines/swarm", "cronsched/engines/tasks",
             "cronsched/engines/plugin", "cronsched/conformance", "cronsched/server"),
    "zookeeper/": ("leader/zookeeper",),
    "microhttpd.h": ("cronsched/http",),
    "curl/": ("cronsched/io", "cronsched/cli"),
    "sqlite3.h": ("jobs/base", "jobs/history", "leader/embedded"),
    "yaml.h": ("jobs/yaml", "cronsched/cli"),
    "libsmartcols.h": ("cronsched/cli",),
    "zstd.h": ("leader/replicated",),
    "zlib.h": ("cronsched/http",),
    "openssl/": ("jobs/base", "jobs/state", "cronsched/http"),
}
# Time, chance and the environment are arguments of the domain.
FORBIDDEN_CALLS_IN_JOBS = ("time", "clock_gettime", "gettimeofday", "getenv", "rand", "random", "getrandom")
CLOCK = "jobs/base/clock.h"
SHIPPED = ("jobs/", "leader/", "cronsched/")
ARCHITECTURE = "contrib/guide/architecture.md"
THREATS = "contrib/guide/security.md"
LINES_MAX = 800
FUNCTION_LINES_MAX = 50  # between its braces; tests may be longer, they are tables
# An external name begins with the first word of its file's name, or of its folder's public header where several
# files implement that one.
FACES = {"jobs/scheduler": "scheduler", "jobs/state": "state", "leader/replicated": "replicated"}
OTHER_NAMES = {
    "jobs/state/record.c": ("batch",),  # a batch owns its records; the tables of fields serve both
    "cronsched/server/serve.c": ("verb",),  # verb_serve: each verb is verb_NAME
}


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


def includes(path):
    """The includes of a file: line number, whether it is one of ours, the header."""
    for number, line in enumerate(read(path).split("\n"), 1):
        found = re.match(r'\s*#\s*include\s+(["<])([^">]+)[">]', line)
        if found:
            yield number, found.group(1) == '"', found.group(2)


def functions(path):
    """Where the body of each function begins, and how many lines it has."""
    begin = None
    for number, line in enumerate(read(path).split("\n"), 1):
        if line == "{":
            begin = number
        elif line == "}" and begin:
            yield begin, number - begin - 1
            begin = None


def double_questions(path):
    """Statements with two conditional expressions: line number, text. Each member of an initializer counts by itself,
    and each macro."""
    text = re.sub(r"^[ \t]*#(?:[^\n]*\\\n)*[^\n]*$", lambda m: m.group(0) + ";", without_comments_and_strings(read(path)),
                  flags=re.M)
    for found in re.finditer(r"(?:[^;{},]|,(?!\s*\.\w))*(?:[;{}]|,(?=\s*\.\w))", text):
        if found.group(0).count("?") > 1:
            statement = found.group(0).lstrip()
            yield text[:found.end() - len(statement)].count("\n") + 1, " ".join(statement.split())


def external_names(build, paths):
    """What the objects of these sources in the build define for others, as (source, name); nothing without a build."""
    objects = {}
    for path in paths:
        room, _, rest = path.partition("/")
        built = glob.glob(os.path.join(build, room, "*.p", rest.replace("/", "_") + ".o"))
        objects.update({o: path for o in built[:1]})
    if not objects:
        return []
    done = subprocess.run(["nm", "-A", "--defined-only", "--extern-only", *objects], capture_output=True, text=True,
                          check=True)
    found = [line.rpartition(":") for line in done.stdout.split("\n") if line]
    return [(objects[built], rest.split()[2]) for built, _, rest in found if not rest.split()[2].startswith("_")]


def introspect(build, what):
    with open(os.path.join(build, "meson-info", f"intro-{what}.json")) as f:
        return json.load(f)


class Style(lab.Suite):
    @classmethod
    def setUpClass(cls):
        cls.files = tracked()
        cls.c = [p for p in cls.files if p.endswith((".c", ".h"))]
        cls.names = {os.path.basename(p) for p in cls.files}
        cls.names |= {os.path.basename(header) for p in cls.c for _, _, header in includes(p)}
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

    def test_timers_are_started_by_the_one_function_that_never_starves_the_loop(self):
        self.assertNone(w for path in self.c if path.startswith(SHIPPED) and path != "leader/worker/loop.c"
                        for w in calls(path, ("uv_timer_start", "uv_timer_again")))

    def test_trust_is_set_in_one_place(self):
        options = re.compile("CURLOPT_(CAINFO|CAPATH|SSL_VERIFY|SSLVERSION|CRLFILE|ISSUERCERT)")
        self.assertNone(p for p in self.c if p.startswith(SHIPPED) and p != "cronsched/io/tls_trust.c"
                        and options.search(read(p)))
        makers = [p for p in self.c if p.startswith(SHIPPED) and "curl_easy_init(" in read(p)]
        self.assertNone(p for p in makers if "tls_trust_set(" not in read(p))

    def test_includes_are_written_from_the_root(self):
        self.assertNone(f"{path}:{number}: {header} is not written from the root" for path in self.c
                        for number, own, header in includes(path) if own and not os.path.exists(os.path.join(TOP, header)))

    def test_includes_go_down(self):
        wrong = []
        for path in self.c:
            folder = os.path.dirname(path)
            if not path.startswith(SHIPPED):
                continue
            if folder not in FOLDER_INCLUDES:
                wrong.append(f"{path}: {folder} is not in FOLDER_INCLUDES")
                continue
            for number, own, header in includes(path):
                if own and os.path.dirname(header) not in (folder, *FOLDER_INCLUDES[folder]):
                    wrong.append(f"{path}:{number}: {folder} may not include {header}")
                wrong += [f"{path}:{number}: {folder} may not include <{header}>"
                          for library, folders in LIBRARY_FOLDERS.items()
                          if not own and header.startswith(library) and folder not in folders]
        self.assertNone(wrong)

    def test_the_table_of_includes_has_no_circle_and_no_folder_that_is_gone(self):
        graphlib.TopologicalSorter(FOLDER_INCLUDES).prepare()
        named = {*FOLDER_INCLUDES, *(f for folders in FOLDER_INCLUDES.values() for f in folders),
                 *(f for folders in LIBRARY_FOLDERS.values() for f in folders)}
        self.assertEqual(set(), named - {os.path.dirname(p) for p in self.c})

    def test_the_domain_asks_for_no_clock_chance_or_environment(self):
        self.assertNone(w for path in self.c if path.startswith("jobs/") and path != CLOCK
                        for w in calls(path, FORBIDDEN_CALLS_IN_JOBS))

    def test_clocks_are_read_in_one_place(self):
        """And what a header gives to everybody, the domain may not use."""
        self.assertNone(w for path in self.c if path.startswith(SHIPPED) and path != CLOCK
                        for w in calls(path, ("time", "clock_gettime", "gettimeofday", "timespec_get")))
        self.assertNone(f"{path}:{number}: {header}" for path in self.c if path.startswith("jobs/")
                        for number, _, header in includes(path) if header == CLOCK)

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
        self.assertNone(f"{p}: {n} lines" for p in self.files if p.endswith((".c", ".h", ".py"))
                        for n in [read(p).count("\n")] if n > LINES_MAX)

    def test_no_function_is_too_long(self):
        self.assertNone(f"{p}:{number}: {lines} lines" for p in self.c if p.startswith((*SHIPPED, "contrib/"))
                        for number, lines in functions(p) if lines > FUNCTION_LINES_MAX)

    def test_no_statement_asks_two_questions(self):
        """"lint: " in a comment on its first line, with the reason, excuses a statement."""
        self.assertNone(f"{p}:{number}: {text[:80]}" for p in self.c if p.startswith((*SHIPPED, "contrib/"))
                        for number, text in double_questions(p)
                        if "/* lint: " not in read(p).split("\n")[number - 1])

    def test_section_marks_are_in_one_style(self):
        """/* ---- what follows ---- */"""
        self.assertNone(f"{p}:{n}: {line}" for p in self.c
                        for n, line in enumerate(read(p).split("\n"), 1)
                        if re.match(r"\s*(/\* ?[-=]{2,}(?!\w)|/\*{3,}|//)", line)
                        and not re.fullmatch(r"/\* ---- .*[^ -] ---- \*/", line))

    def test_external_names_begin_with_the_word_of_their_file(self):
        build = os.path.join(TOP, os.environ.get("CRONSCHED_BUILD", "build-test"))
        wrong, names = [], external_names(build, [p for p in self.c if p.startswith(SHIPPED) and p.endswith(".c")])
        for path, name in names:
            words = {path.rpartition("/")[2][:-2].split("_")[0].rstrip("s"), FACES.get(os.path.dirname(path)),
                     *OTHER_NAMES.get(path, ())}
            if name != "main" and name.split("_")[0].rstrip("s") not in words:
                wrong.append(f"{path}: {name}")
        if not names:
            self.skipTest("CRONSCHED_BUILD names no build")
        self.assertNone(wrong)

    def test_nothing_is_left_to_do(self):
        words = re.compile(r"\b(TO" r"DO|FIX" r"ME|XX" r"X|not impl" r"emented)\b")
        self.assertNone(f"{p}:{n}: {line.strip()[:80]}" for p in self.c for n, line in
                        enumerate(read(p).split("\n"), 1) if words.search(line))

    def test_every_source_is_built_and_every_unit_test_registered(self):
        """By what meson says that it builds, not by the text of its files."""
        build = os.path.join(TOP, os.environ.get("CRONSCHED_BUILD", "build-test"))
        if not os.path.exists(os.path.join(build, "meson-info", "intro-targets.json")):
            self.skipTest("CRONSCHED_BUILD names no build")
        built = set()
        for target in introspect(build, "targets"):
            for sources in target["target_sources"]:
                built |= {os.path.relpath(s, TOP) for s in sources.get("sources", [])}
        tests = {test["name"] for test in introspect(build, "tests")}
        wrong = [f"{p} is not built" for p in self.c if p.endswith(".c") and p not in built]
        wrong += [f"{p} is not a test of meson's" for p in self.c if re.match(r"tests/unit/test_\w+\.c$", p)
                  and os.path.basename(p)[len("test_"):-2] not in tests]
        self.assertNone(wrong)

    def test_the_top_holds_what_the_design_names(self):
        top = {p.split("/")[0] for p in self.files}
        extra = {t for t in top if t not in ROOMS and t not in TOP_FILES and not t.startswith(".")}
        self.assertEqual(set(), extra)

    def test_every_folder_says_what_lives_there(self):
        wanted = {*ROOMS, *(os.path.dirname(p) for p in self.c if p.startswith(SHIPPED))}
        for folder in {os.path.dirname(p) for p in self.c} - wanted:  # of tests/: a line in the room's own will do
            room, _, rest = folder.partition("/")
            if f"| {rest}/ |" not in read(f"{room}/README.md"):
                wanted.add(folder)
        self.assertNone(f"{f} has no README.md" for f in sorted(wanted) if f"{f}/README.md" not in self.files)
        self.assertIn("README.md", self.files)
        self.assertIn("LICENSE", self.files)

    def test_what_a_folder_says_is_short(self):
        """What is more is for the architecture's page, or for the head of a file."""
        folders = {os.path.dirname(p) for p in self.c} | {room.rstrip("/") for room in SHIPPED}
        counts = {f"{f}/README.md": sum(bool(line.strip()) for line in read(f"{f}/README.md").split("\n"))
                  for f in folders if f"{f}/README.md" in self.files}
        self.assertNone(f"{p}: {n} lines that are not blank, not 3 to 10" for p, n in sorted(counts.items())
                        if not 3 <= n <= 10)

    def test_every_folder_says_what_it_may_include(self):
        wrong = []
        for folder, may in FOLDER_INCLUDES.items():
            told = re.search(r"^May include: (.*?)\n\n", read(f"{folder}/README.md"), re.M | re.S)
            names = set(re.findall(r"`([^`]+)`", told.group(1))) if told else set()
            if told and "all of `jobs/`" in told.group(1).replace("\n", " "):
                names = names - {"jobs/"} | set(JOBS)
            names &= set(FOLDER_INCLUDES)
            if names != set(may):
                wrong.append(f"{folder}/README.md: May include: {', '.join(sorted(names ^ set(may)))}?")
        self.assertNone(wrong)

    def unknown_files(self, path, text):
        """Files of ours that a text names and that are not there: a path from the root or from the text's folder, or a
        bare name of any file, or of a system's header."""
        for name in re.findall(r"(?<![\w./*<-])[\w./-]+\.(?:c|h|py|pml|build)(?![\w.*-])", text):
            near = (name, os.path.normpath(os.path.join(os.path.dirname(path), name)))
            known = name in self.names or any(n in self.files for n in near)
            if not known and "NAME" not in name:
                yield f"{path}: there is no {name}"

    def test_files_that_texts_and_comments_name_exist(self):
        wrong = []
        for path in (p for p in self.files if p.endswith(".md")):
            wrong += self.unknown_files(path, re.sub(r"^```.*?^```", "", read(path), flags=re.M | re.S))
        for path in self.c:
            wrong += self.unknown_files(path, "\n".join(re.findall(r"/\*.*?\*/", read(path), re.S)))
        self.assertNone(wrong)

    def test_functions_that_texts_for_developers_name_exist(self):
        words = set(re.findall(r"\w+", "".join(read(p) for p in self.files if p.endswith((".c", ".h", ".py", ".build")))))
        texts = [p for p in self.files if p.startswith(SHIPPED) and p.endswith("README.md")] + [ARCHITECTURE]
        self.assertNone(f"{path}: there is no {name}" for path in texts
                        for name in re.findall(r"`([A-Za-z]\w*_\w+)`", read(path)) if name not in words)

    def test_dangers_are_held_by_tests_that_exist(self):
        """Each row of the table of threats names tests: files, or functions (of the files that follow them in brackets)."""
        rows = re.search(r"^\| danger \|.*\n\|[-|]+\n((?:\|.*\n)+)", read(THREATS), re.M)
        tests = {os.path.basename(p): read(p) for p in self.files if p.startswith("tests/")}
        wrong = []
        for row in rows.group(1).splitlines():
            danger, _, named = [cell.strip() for cell in row.strip("|").split(" | ")]
            files = [f for f in re.findall(r"[\w/]+\.(?:c|py)\b", named)]
            wrong += [f"{danger}: there is no {f}" for f in files if os.path.basename(f) not in tests]
            text = "".join(tests.get(os.path.basename(f), "") for f in files)
            names = re.findall(r"`(\w+)`", named)
            wrong += [f"{danger}: {n} is in none of {files}" for n in names
                      if not re.search(rf"\b(?:test_)?{n}\(", text)]
            if not files:
                wrong.append(f"{danger}: no test is named")
        self.assertGreater(len(rows.group(1).splitlines()), 20)
        self.assertNone(wrong)

    def test_sections_that_comments_cite_exist(self):
        titles = set(re.findall(r"^## (.*)$", read(ARCHITECTURE), re.M))
        self.assertNone(f"{path}: there is no section {title}" for path in self.c
                        for title in re.findall(r'architecture\.md,[\s*]+"([^"]+)"', read(path)) if title not in titles)

    def test_the_guide_has_each_page_and_small_pictures(self):
        guide, pictures = read("contrib/guide/page.md"), os.path.join(TOP, "contrib", "guide", "pictures")
        table = re.search(r"\n\| page \| what \|\n.*?\n\n", guide, re.S).group()
        told = {name.lower() for name in re.findall(r"^\| (?:an? )?(\w+) \|", table, re.M)} - {"page"}
        self.assertEqual(set(re.findall(r'X\((\w+), "\w+"\)', read("cronsched/page/page.h"))), told)
        self.assertEqual(sorted(os.listdir(pictures)), sorted(re.findall(r"\(pictures/([\w-]+\.png)\)", guide)))
        self.assertNone(p for p in os.listdir(pictures) if os.path.getsize(os.path.join(pictures, p)) > 60 * 1024)

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
