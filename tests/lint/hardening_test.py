#!/usr/bin/python3
"""What the compiler and the linker put around the program: looked for in the program that was built, and in the commands of
a release build, which is configured for that and not compiled."""

import json
import os
import re
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lab"))
import lab  # noqa: E402

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
FLAGS = ("-fstack-protector-strong", "-fstack-clash-protection", "-fcf-protection", "-D_FORTIFY_SOURCE=2")
LINK_FLAGS = ("-Wl,-z,relro", "-Wl,-z,now", "-Wl,-z,noexecstack")


def readelf(*options):
    return subprocess.run(["readelf", "-W", *options, lab.binary()], capture_output=True, text=True, check=True).stdout


class Hardening(lab.Suite):
    def test_the_program_is_position_independent_and_its_tables_are_read_only(self):
        self.assertRegex(readelf("-h"), r"Type:\s+DYN")
        self.assertTrue("GNU_RELRO" in readelf("-l"))
        self.assertTrue(re.search(r"\(FLAGS(_1)?\).*\b(BIND_NOW|NOW)\b", readelf("-d")))

    def test_no_stack_can_be_executed(self):
        self.assertRegex(readelf("-l"), r"GNU_STACK.* RW +0x")

    def test_stacks_have_canaries_and_assertions_are_kept(self):
        symbols = readelf("--dyn-syms", "-s")
        self.assertEqual([], [name for name in ("__stack_chk_fail", "__assert_fail") if name not in symbols])

    def test_a_release_build_has_them_all(self):
        build = self.folder.join("release")
        done = subprocess.run(["meson", "setup", build, TOP, "--buildtype=release"], capture_output=True, text=True,
                              timeout=lab.scaled(120), check=False)
        self.assertEqual(0, done.returncode, done.stdout[-2000:])
        with open(os.path.join(build, "compile_commands.json")) as f:
            command = next(e["command"] for e in json.load(f) if e["file"].endswith("cronsched/main.c"))
        self.assertEqual([], [flag for flag in FLAGS if flag not in command.split()])
        self.assertNotIn("-DNDEBUG", command)
        with open(os.path.join(build, "build.ninja")) as f:
            linked = re.search(r"^build cronsched/cronsched: c_LINKER (?:.*\n)+?(?=\n)", f.read(), re.M).group(0)
        self.assertEqual([], [flag for flag in LINK_FLAGS if flag not in linked])
        # and its tests, which cmocka makes possible here, are not what `meson install` compiles as root
        targets = json.loads(subprocess.run(["meson", "introspect", build, "--targets"], capture_output=True, text=True,
                                            check=True).stdout)
        tests = [t for t in targets if t["defined_in"].startswith(os.path.join(TOP, "tests", ""))]
        self.assertNotEqual([], tests)
        self.assertEqual([], [t["name"] for t in tests if t["build_by_default"]])

    def test_a_build_without_assertions_is_refused(self):
        done = subprocess.run(["meson", "setup", self.folder.join("bare"), TOP, "-Db_ndebug=true"], capture_output=True,
                              text=True, timeout=lab.scaled(120), check=False)
        self.assertNotEqual(0, done.returncode)
        self.assertIn("assertions are part of the program", done.stdout + done.stderr)


if __name__ == "__main__":
    lab.main()
