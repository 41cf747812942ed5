#!/usr/bin/python3
"""The units of contrib/systemd, as systemd-analyze sees them: what a server of its own user may still do, and what the
drop-in for commands of this machine gives back. Nothing is started."""

import os
import re
import shutil
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lab"))
import lab  # noqa: E402

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
UNITS = os.path.join(TOP, "contrib", "systemd")
EXPOSURE_MAX = 2.0


class Units(lab.Suite):
    def setUp(self):
        super().setUp()
        if not shutil.which("systemd-analyze"):
            self.skipTest("systemd-analyze is not installed")
        folder = self.folder.make("root", "etc", "systemd", "system", "cronsched.service.d")
        shutil.copy(os.path.join(UNITS, "cronsched.service"), os.path.dirname(folder))
        self.drop_in = os.path.join(folder, "process.conf")

    def analyze(self, *words):
        done = subprocess.run(["systemd-analyze", f"--root={self.folder.join('root')}", "--no-pager", *words,
                               "cronsched.service"], capture_output=True, text=True, timeout=lab.scaled(60), check=False)
        return done.stdout + done.stderr

    def exposure(self):
        said = self.analyze("security", "--offline=true")
        found = re.search(r"Overall exposure level for \S+: ([\d.]+)", said)
        self.assertTrue(found, said[-500:])
        return float(found.group(1))

    def test_a_server_for_containers_has_little_left(self):
        self.assertLess(self.exposure(), EXPOSURE_MAX)

    def test_the_drop_in_gives_commands_what_they_need(self):
        before = self.exposure()
        shutil.copy(os.path.join(UNITS, "process.conf"), self.drop_in)
        self.assertGreater(self.exposure(), before)
        said = self.analyze("security", "--offline=true")
        for taken in ("CAP_SET(UID|GID|PCAP)", "ProtectHome=", "SystemCallFilter=~@resources"):
            self.assertTrue(re.search(rf"^✗ \S*{re.escape(taken)}", said, re.M), taken)

    def test_every_key_is_one_of_systemds(self):
        shutil.copy(os.path.join(UNITS, "process.conf"), self.drop_in)
        said = self.analyze("verify")
        self.assertFalse(re.search(r"Unknown (key|section)|Failed to parse|ignoring", said), said[:2000])


if __name__ == "__main__":
    lab.main()
