"""Which part of a long table a run takes: what has to do with the files that changed, and a share of the rest that
changes by the day, so that everything is run within a few days.

    class Table(lab.Suite):
        @classmethod
        def sample(cls, names):
            return sample.chosen("crash table", names, lambda name: Group("docker", ("cronsched/engines/docker/",), ...))

Chosen is by nothing but the names, the changes and the day, and both are printed: the same ones give the same part.
  CRONSCHED_WHOLE=1   or --whole: everything
  CRONSCHED_DAY=N     the part of that day (days since 1970)
  CRONSCHED_BASE=REF  the commit that changes are counted from. Otherwise the merge base with the main branch; on that
                      branch itself the last LAST_COMMITS commits. Where no history is known (an archive, a clone with
                      one commit) everything counts as changed.
"""

import collections
import functools
import os
import subprocess
import time

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
LAST_COMMITS = 10
MAIN = ("origin/main", "origin/master", "main", "master")

# `one_in`: every how many-th case is taken on a day; `one_in_changed`: when a file below one of `paths` has changed.
Group = collections.namedtuple("Group", "name paths one_in one_in_changed")


def whole():
    return bool(os.environ.get("CRONSCHED_WHOLE"))


def day():
    return int(os.environ.get("CRONSCHED_DAY") or time.time() // 86400)


def git(*words):
    """What git prints, or None."""
    try:
        done = subprocess.run(["git", "-c", "safe.directory=*", "-C", TOP, *words], capture_output=True, text=True,
                              check=False)
    except OSError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def base():
    """(commit to compare with, why that one); (None, why there is none)."""
    head = git("rev-parse", "HEAD")
    if not head:
        return None, "no history: all counts as changed"
    asked = os.environ.get("CRONSCHED_BASE")
    for ref in (asked,) if asked else MAIN:
        common = git("merge-base", "HEAD", ref)
        if common and (asked or common != head):
            return common, f"changes since {common[:8]}, the merge base with {ref}"
        if asked:
            raise ValueError(f"CRONSCHED_BASE={asked} is not a commit here")
    count = min(LAST_COMMITS, int(git("rev-list", "--first-parent", "--count", "HEAD")) - 1)
    if count < 1:
        return None, "a clone of one commit: all counts as changed"
    return git("rev-parse", f"HEAD~{count}"), f"changes in the last {count} commits"


@functools.lru_cache
def changes():
    """(paths that changed, committed or not; None when that cannot be known, why)"""
    commit, why = base()
    if not commit:
        return None, why
    listed = (git("diff", "--name-only", commit) or "", git("ls-files", "--others", "--exclude-standard") or "")
    return sorted(set("\n".join(listed).split())), why


def spread(names, one_in, today):
    """Every so many-th name, beginning with another one each day."""
    return names[today % one_in::one_in]


def changed_of(paths):
    """The first changed file below one of these, "" when all counts as changed, None when none has."""
    files, _ = changes()
    if files is None:
        return ""
    return next((f for f in files if f.startswith(tuple(paths))), None)


def chosen(title, names, group_of):
    """(names to run, what to say about it). The order of names stays."""
    if whole():
        return list(names), f"{title}: all {len(names)}"
    groups = collections.defaultdict(list)
    for name in names:
        groups[group_of(name)].append(name)
    taken, told = set(), []
    for group, members in groups.items():
        hit = changed_of(group.paths)
        one_in = group.one_in if hit is None else group.one_in_changed
        mine = spread(members, one_in, day())
        taken.update(mine)
        because = f", since {hit} changed" if hit else ""
        told.append(f"{len(mine)} of {len(members)} {group.name} (one in {one_in}{because})")
    return [n for n in names if n in taken], words(title, told)


def words(title, told):
    return f"{title}: {'; '.join(told)}; day {day()}, {changes()[1]}; all of it: --whole"
