#!/usr/bin/python3
"""What install.md promises of a machine that has the packages of `build` and no others: a release build is configured
as it says, with a pkg-config that finds no cmocka, and not compiled."""

import json
import os
import re
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lab"))
import lab  # noqa: E402

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PROGRAM = ("cronsched", "jobs", "leader", "contrib")  # folders that what is installed is made of
WITHOUT_CMOCKA = '#!/bin/sh\nfor word; do case $word in cmocka*) exit 1 ;; esac; done\nexec /usr/bin/pkg-config "$@"\n'
INSTALLED = ("bin/cronsched", "share/man/man1/cronsched.1", "share/man/man5/cronsched-job.5",
             "share/bash-completion/completions/cronsched", "share/doc/cronsched/guide", "share/doc/cronsched/examples",
             "share/doc/cronsched/openapi.yaml", "share/doc/cronsched/systemd/process.conf",
             "lib/systemd/system/cronsched.service")


class Install(lab.Suite):
    def configure(self, *options, **environment):
        build = self.folder.join("build")
        done = subprocess.run(["meson", "setup", build, TOP, *options], capture_output=True, text=True,
                              env={**os.environ, **environment}, timeout=lab.scaled(120), check=False)
        self.assertEqual(0, done.returncode, done.stdout[-2000:])
        return build

    def introspect(self, build, what):
        return json.loads(subprocess.run(["meson", "introspect", build, f"--{what}"], capture_output=True, text=True,
                                         check=True).stdout)

    def test_a_release_build_needs_what_install_md_names_and_compiles_the_program_alone(self):
        with open(os.path.join(TOP, "contrib/guide/install.md"), encoding="utf-8") as f:
            words = re.search(r"meson setup build (.*)", f.read()).group(1).split()
        fake = self.folder.write("pkg-config", WITHOUT_CMOCKA)
        os.chmod(fake, 0o755)
        build = self.configure(*words, "--prefix=/opt/x", PKG_CONFIG=fake)
        targets = [t for t in self.introspect(build, "targets") if t["build_by_default"]]
        where = {os.path.relpath(t["defined_in"], TOP).split("/")[0] for t in targets}
        self.assertEqual(set(), where - set(PROGRAM))
        self.assertNone(t["name"] for t in targets for s in t["target_sources"] if "cmocka" in json.dumps(s))
        installed = set(self.introspect(build, "installed").values())
        self.assertNone(f for f in INSTALLED if f"/opt/x/{f}" not in installed)
        with open(os.path.join(build, "contrib/cronsched.service"), encoding="utf-8") as f:
            unit = f.read()
        self.assertIn("ExecStart=/opt/x/bin/cronsched serve ", unit)
        self.assertNotIn("/usr/local", unit)

    def test_the_line_that_names_the_packages_names_those_of_the_list(self):
        with open(os.path.join(TOP, "contrib/guide/install.md"), encoding="utf-8") as f:
            line = re.search(r"\$\((awk .*)\)", f.read()).group(1)
        named = subprocess.run(["sh", "-c", line], capture_output=True, text=True, cwd=TOP, check=True).stdout.split()
        with open(os.path.join(TOP, "contrib/packages"), encoding="utf-8") as f:
            listed = [row.split() for row in f if not row.startswith("#")]
        self.assertEqual([row[0] for row in listed if row[1] == "build"], named)


if __name__ == "__main__":
    lab.main()
