#!/usr/bin/python3
"""Judges a run of the lab by two things alone: the ledger that the attempts wrote, and the schedule as it was planned.
It shares no code with cronsched, and asks it nothing.

usage: checker.py PLAN LEDGER [--svg FILE]      prints JSON; exit code 1 when a rule is broken

The plan is JSON: {"jobs": {NAME: {"start", "interval", "count", "duration", "epsilon"}}, "read": when the ledger was
read, "boot": when the machine started, "faults": [{"from", "to", "what"}], "leaders": [{"at", "who"}]}; all times are
seconds since 1970, all spans seconds. A line of the ledger: start|end RUN ATTEMPT EPOCH UPTIME.

The rules, after Jepsen's Chronos test: fire time k of a job is owed as soon as a run could have started as late as
allowed and ended before the read; it needs a complete run of its own whose start lies in
[fire time, fire time + epsilon + forgiveness]. Beyond that test: no run starts twice, complete or not; nothing starts
that no schedule names; nothing starts before its time or ends without a start; and a run's start lies in the window of
the fire time in its id, not in just any.
"""

import argparse
import calendar
import collections
import json
import re
import sys
import time
from xml.sax.saxutils import escape

FORGIVENESS_S = 5
EARLY_S = 0.05  # the ledger's clock ticks in hundredths, and is set against the wall once
LISTED_MAX = 100
LINE = re.compile(r"^(start|end) ([^ @]+)@(\d{8}T\d{6})Z (\d+) (\d+) (\d+\.\d+)$")

Run = collections.namedtuple("Run", "job fire starts ends epochs")  # starts, ends: wall clock, in the ledger's order


def read_ledger(text, boot):
    """({(job, fire time): Run}, lines that are none). A torn last line is what a crash leaves behind."""
    runs, torn = {}, []
    for line in text.splitlines():
        found = LINE.match(line)
        if not found:
            torn.append(line)
            continue
        what, job, basic, _, epoch, uptime = found.groups()
        fire = calendar.timegm(time.strptime(basic, "%Y%m%dT%H%M%S"))
        run = runs.setdefault((job, fire), Run(job, fire, [], [], []))
        (run.starts if what == "start" else run.ends).append(boot + float(uptime))
        run.epochs.append(int(epoch))
    return runs, torn


def owed(job, read):
    """The fire times of a job that must have a complete run by now."""
    finish = read - job["epsilon"] - FORGIVENESS_S - job["duration"]
    times = (job["start"] + k * job["interval"] for k in range(job["count"]))
    return [t for t in times if t < finish]


def unmet_windows(times, starts, width):
    """Windows that no start is left for, each start serving one. Windows are of one width, so taking the earliest start
    for the window that ends first leaves as few unmet as can be."""
    unmet, starts = [], sorted(starts)
    at = 0
    for t in sorted(times):
        while at < len(starts) and starts[at] < t - EARLY_S:
            at += 1
        if at < len(starts) and starts[at] <= t + width:
            at += 1
        else:
            unmet.append(t)
    return unmet


def name(job, fire):
    return f"{job}@{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime(fire))}"


def check_job(title, job, runs, read, forgive, findings):
    """The rules for one job and its runs {fire time: Run}. What is forgiven needs no start, and takes none."""
    due = [t for t in owed(job, read) if name(title, t) not in forgive]
    planned = {job["start"] + k * job["interval"] for k in range(job["count"])}
    width = job["epsilon"] + FORGIVENESS_S
    for fire, run in sorted(runs.items()):
        if len(run.starts) > 1:
            findings["doubled"].append(f"{name(title, fire)} started {len(run.starts)} times, epochs {run.epochs}")
        if fire not in planned:
            findings["unplanned"].append(name(title, fire))
        if len(run.ends) > len(run.starts):
            findings["unstarted"].append(f"{name(title, fire)} ended and never started")
        for start in run.starts:
            if start < fire - EARLY_S:
                findings["early"].append(f"{name(title, fire)} started {fire - start:.2f} s before its time")
            elif start > fire + width:
                findings["late"].append(f"{name(title, fire)} started {start - fire:.2f} s after its time")
    complete = [run.starts[0] for run in runs.values() if run.starts and run.ends and name(title, run.fire) not in forgive]
    for fire in unmet_windows(due, complete, width):
        findings["missed"].append(name(title, fire))
    for fire in owed(job, read):
        run = runs.get(fire)
        if run and run.starts and not run.ends:
            findings["incomplete"].append(name(title, fire))
        elif fire in due and not (run and run.starts):
            findings["never_started"].append(name(title, fire))


# Rules that make a run fail; what is incomplete was started and cut off by a fault: reported.
RULES = ("doubled", "unplanned", "unstarted", "early", "late", "missed", "never_started")


def check(plan, ledger, forgive=()):
    """The verdict. `forgive` names runs that a fault is known to have cut off, or to have kept from their start."""
    runs, torn = read_ledger(ledger, plan["boot"])
    findings = {rule: [] for rule in (*RULES, "incomplete")}
    by_job = collections.defaultdict(dict)
    for (job, fire), run in runs.items():
        by_job[job][fire] = run
    for title in sorted(set(by_job) - set(plan["jobs"])):
        findings["unplanned"] += [name(title, fire) for fire in sorted(by_job[title])]
    for title, job in sorted(plan["jobs"].items()):
        check_job(title, job, by_job[title], plan["read"], forgive, findings)
    late = sorted(s - run.fire for run in runs.values() for s in run.starts)
    return {
        "valid": not any(findings[rule] for rule in RULES) and len(torn) <= 1,
        "jobs": len(plan["jobs"]), "owed": sum(len(owed(j, plan["read"])) for j in plan["jobs"].values()),
        "runs": len(runs), "starts": len(late), "torn": len(torn),
        "lateness": {"median": late[len(late) // 2], "p99": late[len(late) * 99 // 100], "max": late[-1]} if late else None,
        **{f"{rule}_count": len(found) for rule, found in findings.items()},
        **{rule: found[:LISTED_MAX] for rule, found in findings.items()}}


# --- the picture: time to the right; a row for leaders, one for each kind of fault, one for each job, whose fire times
# are green when they were started once, orange when they are forgiven, and red; each start is a mark

ROW, LEFT, WIDTH = 16, 190, 1400
COLORS = ("#4477aa", "#ccbb44", "#228833", "#aa3377", "#66ccee", "#ee6677")


def picture(plan, ledger, forgive=()):
    runs, _ = read_ledger(ledger, plan["boot"])
    times = [j["start"] for j in plan["jobs"].values()] + [s for r in runs.values() for s in r.starts]
    times += [f["to"] for f in plan.get("faults", [])]
    first, last = min(times, default=plan["read"]) - 2, max(times, default=plan["read"]) + 2

    def x(t):
        return LEFT + (t - first) / max(last - first, 1) * WIDTH

    out, y = [], 24

    def text(at_x, at_y, words):
        out.append(f'<text x="{at_x:.1f}" y="{at_y:.1f}">{escape(words)}</text>')

    def bar(a, b, top, color, title, height=ROW - 5):
        out.append(f'<rect x="{x(a):.1f}" y="{top:.1f}" width="{max(x(b) - x(a), 1):.1f}" height="{height}" '
                   f'fill="{color}"><title>{escape(title)}</title></rect>')

    for t in range(int(first) + 1, int(last) + 1):
        if t % max(10, int(last - first) // 12 // 10 * 10) == 0:
            out.append(f'<line x1="{x(t):.1f}" x2="{x(t):.1f}" y1="16" y2="9999" stroke="#ddd"/>')
            text(x(t), 12, time.strftime("%H:%M:%S", time.gmtime(t)))
    leaders = sorted(plan.get("leaders", []), key=lambda e: e["at"])
    who = sorted({e["who"] for e in leaders})
    text(4, y + 10, "leader")
    for i, e in enumerate(leaders):
        until = leaders[i + 1]["at"] if i + 1 < len(leaders) else last
        bar(e["at"], until, y, COLORS[who.index(e["who"]) % len(COLORS)], e["who"])
        text(x(e["at"]) + 2, y + 10, e["who"])
    y += ROW
    for what in sorted({f["what"] for f in plan.get("faults", [])}):
        text(4, y + 10, what)
        for f in plan["faults"]:
            if f["what"] == what:
                bar(f["from"], f["to"], y, "#888", f"{what}, {f['to'] - f['from']:.1f} s")
        y += ROW
    for title, job in sorted(plan["jobs"].items()):
        text(4, y + 10, title)
        for fire in owed(job, plan["read"]):
            run = runs.get((title, fire))
            good = run and len(run.starts) == 1 and run.starts[0] <= fire + job["epsilon"] + FORGIVENESS_S
            color = "#9c9" if good else "#fb6" if name(title, fire) in forgive else "#d33"
            bar(fire, fire + min(job["epsilon"], job["interval"] * 0.8), y, color, name(title, fire))
        for (of, fire), run in runs.items():
            for start in run.starts if of == title else ():
                bar(start, start, y + 3, "#000", f"{name(title, fire)} started, {start - fire:.2f} s late", 5)
        y += ROW
    return (f'<svg xmlns="http://www.w3.org/2000/svg" width="{LEFT + WIDTH + 20}" height="{y + 10}" '
            f'font-family="sans-serif" font-size="10"><rect width="100%" height="100%" fill="#fff"/>'
            + "\n".join(out) + "</svg>\n")


def main():
    parser = argparse.ArgumentParser(usage=__doc__.partition("usage: ")[2].partition("\n\n")[0])
    parser.add_argument("plan")
    parser.add_argument("ledger")
    parser.add_argument("--svg")
    args = parser.parse_args()
    with open(args.plan) as f:
        plan = json.load(f)
    with open(args.ledger, errors="replace") as f:
        ledger = f.read()
    verdict = check(plan, ledger)
    print(json.dumps(verdict, indent=1))
    if args.svg:
        with open(args.svg, "w") as f:
            f.write(picture(plan, ledger))
    return 0 if verdict["valid"] else 1


if __name__ == "__main__":
    sys.exit(main())
