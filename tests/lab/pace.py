"""How fast this machine is, and what that means for waiting.

Deadlines in the tests are written for a machine that starts STARTS_A_SECOND processes. A slower one gets more time:
every deadline is multiplied by patience(), which is measured once, printed, and handed to all programs of a run in
CRONSCHED_PATIENCE (the C fixtures read it too, tests/support/patience.h).

A deadline only ends a test that would wait for ever. What the program promises ("a standby leads within half a
second") is no deadline: promised() compares it with what other work took in the same run, so that a slow machine
does not make it fail and patience does not make it empty.
"""

import os
import time

VARIABLE = "CRONSCHED_PATIENCE"
STARTS_A_SECOND, LOOPS_A_SECOND = 1300, 8000  # of /bin/true, one by one; of a thousand multiplications
MOST = 12  # beyond that a machine is broken and not slow


def starts_a_second(seconds=0.4):
    count, began = 0, time.monotonic()
    while time.monotonic() - began < seconds:
        os.waitpid(os.posix_spawn("/bin/true", ["true"], os.environ), 0)
        count += 1
    return count / (time.monotonic() - began)


def loops_a_second(seconds=0.1):
    count, value, began = 0, 1, time.monotonic()
    while time.monotonic() - began < seconds:
        for _ in range(1000):
            value = (value * 1103515245 + 12345) & 0x7fffffff
        count += 1
    return count / (time.monotonic() - began)


def measure():
    """(patience, what was measured in words). Whichever is slower counts, a process or a computation."""
    starts, loops = starts_a_second(), loops_a_second()
    patience = min(max(1.0, STARTS_A_SECOND / starts, LOOPS_A_SECOND / loops), MOST)
    return round(patience, 1), f"{starts:.0f} processes and {loops:.0f} loops a second: deadlines times {patience:.1f}"


def patience(say=False):
    """By what deadlines are multiplied: 1 or more. Measured by the first of a run that asks. say: prints a line of TAP
    then; not in the lab, whose output is for people."""
    if VARIABLE not in os.environ:
        value, words = measure()
        os.environ[VARIABLE] = str(value)
        if say:
            print(f"# {words}", flush=True)
    return max(1.0, float(os.environ[VARIABLE]))


def scaled(seconds):
    """A deadline of this machine."""
    return seconds * patience()


def quiet_for(seconds):
    """Lets real time pass because the time itself is what is tested: an outage of that length, or that nothing
    happens. To wait for something there is wait_for(). Not scaled: nothing has to be finished by its end."""
    time.sleep(seconds)


# What the program promises, in seconds; and how many calls of its command line, measured beside it, may take as long on
# a slow machine. The ceiling is what the promise is worth something against; nothing stretches that.
PROMISES = {
    "take-over from a killed leader": (0.5, 15),
    "take-over from a leader that is asked to end": (0.5, 10),
    "take-over from a leader that steps down": (0.5, 10),
    "SIGTERM with an attempt running": (1.0, 10),
    "start at a fire time": (0.5, 5),
    "start of a container at a fire time": (2.0, 20),
}


class BrokenPromise(AssertionError):
    pass


def promised(name, took_s, call, ceiling_s):
    """Fails unless `took_s` keeps the promise. `call` is a function: one call of the command line on the same server,
    timed here as the peer. Returns a line that tells all of it."""
    limit_s, calls = PROMISES[name]
    peer_s = min(timed(call) for _ in range(3))
    allowed_s = min(max(limit_s, calls * peer_s), ceiling_s)
    line = (f"{name}: {took_s:.2f} s; promised are {limit_s} s, allowed here {allowed_s:.2f} s "
            f"(a call of the command line takes {peer_s:.3f} s; ceiling {ceiling_s} s)")
    if took_s > allowed_s:
        raise BrokenPromise(line)
    return line


def timed(call):
    began = time.monotonic()
    call()
    return time.monotonic() - began
