"""A wall clock of a server's own, through libfaketime: it can be set while the server runs, and nothing else sees it."""

import os

LIBRARY = "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1"


def why_no_faked_clock():
    """Why no clock can be faked here, or None."""
    return None if os.path.exists(LIBRARY) else "faketime is not installed"


class FakedClock:
    def __init__(self, folder, name="faketime"):
        self.folder, self.name = folder, name
        self.step(0)
        # of the clocks only the wall clock is faked; the sanitizer must not insist on being loaded first
        self.environment = {
            "LD_PRELOAD": LIBRARY, "FAKETIME_TIMESTAMP_FILE": folder.join(name), "FAKETIME_NO_CACHE": "1",
            "DONT_FAKE_MONOTONIC": "1", "FAKETIME_DONT_RESET": "1",
            "ASAN_OPTIONS": "abort_on_error=1:detect_leaks=0:verify_asan_link_order=0"}

    def step(self, seconds):
        """From now on it shows so many seconds more than the machine's."""
        self.folder.write(f"{self.name}.new", f"{seconds:+d}s\n")
        os.replace(self.folder.join(f"{self.name}.new"), self.folder.join(self.name))
