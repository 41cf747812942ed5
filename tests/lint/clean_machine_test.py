#!/usr/bin/python3
"""What install.md says, on a machine that has the packages of `build`, what they depend on, and what every Debian machine
has, and no others: a root folder with the files of these alone, for which nothing is downloaded. In it the commands of the
page are run. Of the program those files are compiled that include all headers of other packages between them, and whatever
is made by other tools; what it is linked with is linked. The rest of the build asks nothing more of the machine."""

import os
import re
import shlex
import stat
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lab"))
import lab  # noqa: E402

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
FIELDS = "${Package}\t${Essential}\t${Priority}\t${Pre-Depends},${Depends}\t${Provides}\t${db:Status-Status}\n"
# Made by maintainers' scripts, and in no package's list of files.
MADE = ("/etc", "/bin", "/sbin", "/lib", "/lib64")
LINK_ALL = "int main(void) { return 0; }\n"


def why_no_root():
    """Why no root folder can be entered here, or None."""
    if os.geteuid() != 0:
        return "only root can enter another root folder"
    done = subprocess.run(["unshare", "--mount", "true"], capture_output=True, text=True, check=False)
    return None if done.returncode == 0 else f"unshare: {done.stderr.strip()}"


def names_of(field):
    """Of a list of dependencies: for each, the names that will do."""
    for clause in field.split(","):
        names = [re.sub(r"[ (:].*", "", one.strip()) for one in clause.split("|")]
        if names[0]:
            yield names


def closure(wanted):
    """The packages that are installed with these on a machine that has nothing else."""
    listed = subprocess.run(["dpkg-query", "-W", f"--showformat={FIELDS}"], capture_output=True, text=True, check=True).stdout
    needs, provided, todo = {}, {}, list(wanted)
    for line in listed.splitlines():
        name, essential, priority, depends, provides, status = line.split("\t")
        if status != "installed":
            continue
        needs[name] = depends
        for names in names_of(provides):
            provided.setdefault(names[0], name)
        if essential == "yes" or priority == "required":
            todo.append(name)
    found = set()
    while todo:
        name = todo.pop()
        if name in found:
            continue
        found.add(name)
        for names in names_of(needs[name]):
            there = [n if n in needs else provided[n] for n in names if n in needs or n in provided]
            todo += there[:1]
    return sorted(found)


def files_of(packages):
    """Their files, and what Python has compiled of them."""
    listed = subprocess.run(["dpkg-query", "-L", *packages], capture_output=True, text=True, check=True).stdout
    for path in dict.fromkeys(listed.splitlines()):
        if not path.startswith("/") or path == "/." or path.startswith(("/usr/share/doc/", "/usr/share/man/", "/usr/share/locale/")):
            continue
        yield path
        if path.endswith(".py"):
            compiled = os.path.join(os.path.dirname(path), "__pycache__",
                                    f"{os.path.basename(path)[:-3]}.{sys.implementation.cache_tag}.pyc")
            if os.path.exists(compiled):
                yield compiled


class CleanMachine(lab.Suite):
    def setUp(self):
        super().setUp()
        why = why_no_root()
        if why:
            self.skipTest(why)
        with open(os.path.join(TOP, "contrib/packages"), encoding="utf-8") as f:
            rows = [row.split() for row in f if row.strip() and not row.startswith("#")]
        missing = [row[0] for row in rows if row[1] == "build" and subprocess.run(
            ["dpkg-query", "-W", row[0]], capture_output=True, check=False).returncode]
        if missing:
            self.skipTest(f"not installed: {missing}")
        self.root = self.folder.join("root")
        self.named = [row[0] for row in rows if row[1] == "build"]

    def place(self, path):
        """A file as in this machine's root; a link to it, where that can be."""
        folder, name = os.path.split(path)
        to = os.path.join(self.root + os.path.realpath(folder), name)  # /lib is a link to /usr/lib
        if os.path.lexists(to):
            return
        os.makedirs(os.path.dirname(to), exist_ok=True)
        mode = os.lstat(path).st_mode
        if stat.S_ISLNK(mode):
            os.symlink(os.readlink(path), to)
        elif stat.S_ISREG(mode):
            try:
                os.link(path, to)
            except OSError:
                subprocess.run(["cp", "-p", path, to], check=True)
        elif stat.S_ISDIR(mode):
            os.makedirs(to, exist_ok=True)

    def make_root(self):
        for path in MADE:
            if os.path.islink(path):
                self.place(path)
        for path in files_of(closure(self.named)):
            if os.path.lexists(path):
                self.place(path)
        subprocess.run(["cp", "-a", "-n", "/etc/.", f"{self.root}/etc"], check=False, stderr=subprocess.DEVNULL)
        for folder in ("src", "build", "dev", "proc", "tmp"):
            os.makedirs(os.path.join(self.root, folder), exist_ok=True)

    def inside(self, script):
        """Runs it where the page says: in the checkout. What it writes goes to /build alone."""
        root = shlex.quote(self.root)
        enter = (f"mount --bind {root} {root} && mount --bind {shlex.quote(self.folder.join('build'))} {root}/build && "
                 f"mount --bind {shlex.quote(TOP)} {root}/src && mount -o remount,ro,bind {root}/src && "
                 f"mount -t tmpfs none {root}/tmp && mount --rbind /dev {root}/dev && mount --rbind /proc {root}/proc && "
                 f"mount -o remount,ro,bind {root} && exec chroot {root} /bin/sh -euc {shlex.quote(script)}")
        done = subprocess.run(["unshare", "--mount", "sh", "-c", enter], capture_output=True, text=True,
                              timeout=lab.scaled(120), check=False,
                              env={"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/tmp"})
        self.assertEqual(0, done.returncode, done.stdout[-3000:] + done.stderr[-3000:])
        return done.stdout

    def sources(self):
        """Files of the program that include every header of another package between them."""
        left, found = {}, []
        for top in ("cronsched", "jobs", "leader"):
            for folder, _, names in os.walk(os.path.join(TOP, top)):
                for name in names:
                    if name.endswith((".c", ".h")):
                        path = os.path.join(folder, name)
                        with open(path, encoding="utf-8") as f:
                            left[path] = set(re.findall(r"^#include <([^>]+)>", f.read(), re.M))
        libc = {re.sub(r"^/usr/include/([^/]*-linux-[^/]*/)?", "", path)
                for path in files_of(["libc6-dev", "linux-libc-dev"])}
        headers = set().union(*left.values()) - libc
        while headers:
            best = max((p for p in left if p.endswith(".c")), key=lambda p: (len(left[p] & headers), p))
            if not left[best] & headers:
                break  # those that headers of ours include come with whoever includes these
            headers -= left[best]
            found.append(os.path.relpath(best, TOP))
        return found

    def test_the_commands_of_install_md_work(self):
        os.mkdir(self.folder.join("build"))
        self.make_root()
        self.assertFalse(os.path.exists(f"{self.root}/usr/include/cmocka.h"))
        self.assertFalse(os.path.exists(f"{self.root}/usr/bin/git"))
        with open(os.path.join(TOP, "contrib/guide/install.md"), encoding="utf-8") as f:
            page = f.read()
        setup = re.search(r"^    (meson setup build .*)$", page, re.M).group(1).replace(" build ", " /build/b ", 1)
        self.assertIn("\n    ninja -C build\n    sudo meson install -C build\n", page)
        objects = [f"{s.split('/')[0]}/lib{'cronsched' if s.startswith('cronsched') else s.split('/')[0]}.a.p/"
                   f"{'_'.join(s.split('/')[1:])}.o" for s in self.sources() if s != "cronsched/main.c"]
        # What is linked with the program: the build file names it, on this machine's libraries.
        link = ("libs=$(sed -n '/^build cronsched\\/cronsched:/,/^$/s/^ *LINK_ARGS = //p' build.ninja | tr ' ' '\\n' | "
                "grep -E '^(-l|-pthread|/usr/)' | tr '\\n' ' '); echo \"$libs\"; "
                f"echo {shlex.quote(LINK_ALL)} >/tmp/a.c; gcc -o /tmp/a /tmp/a.c $libs")
        self.inside(f"cd /src; {setup} -Doptimization=0 >/build/log 2>&1 || {{ cat /build/log; exit 1; }}; cd /build/b; "
                    f"ninja {' '.join(objects)} $(ninja -t targets all | sed -n 's/^\\(cronsched[^:]*\\): CUSTOM.*/\\1/p') "
                    f">/build/log 2>&1 || {{ tail -n 40 /build/log; exit 1; }}; "
                    f"scdoc </src/contrib/man/cronsched-job.5.scd >/build/page; {link}")


if __name__ == "__main__":
    lab.main()
