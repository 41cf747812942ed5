#!/usr/bin/python3
"""Each page in a real browser: at two widths, light and dark, with scripts and without, as each role, filled with names and
texts that mean harm. One server and one browser for all. A new page is a row of PAGES.
"""

import os
import sys
import unittest
import urllib.parse

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lab"))
import lab  # noqa: E402
from browser import why_no_browser  # noqa: E402
from page_checks import Checker  # noqa: E402
from place import Folder  # noqa: E402
from zookeeper import free_ports  # noqa: E402

NEVER = "0 0 1 1 *"  # nothing fires in the time of a test, save at New Year
LONG = "a" * 100
HARM = "<script>alert(1)</script><img src=x onerror=alert(1)>\"'><b id=main>&amp; \u202egnp.exe \u2066x\u2069 \u200f" + "W" * 400
WIDTHS = (320, 1280)
ROLES = ("read", "operate", "admin")

# The path, with {run} for a run that has ended and {time} for its time; the heading; what has to be on it; the least role.
PAGES = (
    ("/ui/jobs", "Jobs", "table caption", "read"),
    ("/ui/jobs?q=job:nothing-of-this-name", "Jobs", "table caption", "read"),
    ("/ui/jobs?q=bad:key&sort=name", "Jobs", ".error", "read"),
    ("/ui/", "Now", ".tiles", "read"),
    ("/ui/jobs/bad", "bad", "main dl", "read"),
    ("/ui/runs", "Runs", "table caption", "read"),
    ("/ui/runs/{run}", "{run}", "main pre", "read"),
    ("/ui/tonight", "Tonight", "table caption", "read"),
    ("/ui/tonight?to=yesterday", "Tonight", ".error", "read"),
    ("/ui/explain", "Explain", "form.filter", "read"),
    ("/ui/explain?job=bad&time={time}", "Explain", ".steps li", "read"),
    ("/ui/audit?since=2020-01-01T00:00:00Z", "Audit", ".tiles", "read"),
    ("/ui/cluster?doctor=yes", "Cluster", "details", "read"),
    ("/ui/jobs/good/backfill?from=2026-11-01T00:00:00Z&to=2026-11-02T00:00:00Z", "Backfill", "form.filter", "operate"),
    ("/ui/jobs/good/trigger?run={run}", "Trigger", "textarea", "operate"),
    ("/ui/step-down", "Step down", "form.card", "admin"),
    ("/ui/confirm?action=pause&jobs=good&key=page-1&next=/ui/jobs", "Pause", "form.card", "operate"),
    ("/ui/login", "Log in", "form.card", "read"),
    ("/ui/nothing", "Not found", "main p", "read"),
)

# A page with one of each fault, and what is to be said of each.
FAULTY = """<!doctype html><html><head><title></title></head><body><a href="#gone">x</a><header></header>
<main><h1>One</h1><h1>Two</h1><h4 id="a">Four</h4><p id="a" style="color:#999;background:#fff">pale</p><p style="font-size:9px">small</p>
<div style="width:2000px">wide</div><table><tr><th>x</th></tr></table><svg><path/></svg><ul><p>x</p></ul><label for="none">x</label>
<input id="b" placeholder="only a hint" tabindex="3"><button style="width:9px;height:9px"></button>
<form method="post" action="http://evil.example/"></form><script>1</script></main></body></html>"""
FAULTS = ("2 of h1", "0 of body > footer", "the language", "no title", "does not lead", "a heading of level 4", "called a", "for names none",
          "without a caption", "without a scope", "a picture without", "a list holds", "an order of its own", "leaves the site",
          "an element or an attribute", "a script that is not", "wide in a window", "a text has a contrast of 2.85", "a text of 9 px",
          "a target of 16 x 9", "a button without a name")


class Page(lab.Suite):
    @classmethod
    def setUpClass(cls):
        why = why_no_browser()
        if why:
            raise unittest.SkipTest(why)
        cls.place = Folder("page")
        cls.addClassCleanup(cls.place.close)
        port = free_ports(1)[0]
        cls.host = f"127.0.0.1:{port}"
        cls.site = f"http://{cls.host}"
        cls.one = lab.Server(cls.place)
        cls.addClassCleanup(cls.one.close)
        tokens = cls.place.join("tokens")
        cls.one.config["listen"].append(f"127.0.0.1:{port}")
        cls.one.config["tokens_file"] = tokens
        cls.tokens = {role: cls.token(tokens, role) for role in ROLES[:2]}
        cls.one.start()
        cls.fill()
        cls.browser = Checker(cls.place)
        cls.addClassCleanup(cls.browser.close)

    @classmethod
    def token(cls, path, role):
        return cls.one.cli.check("token", f"{role}er", "--role", role, "--append", path).out.strip()

    @classmethod
    def fill(cls):
        """Jobs and runs whose every free text means harm."""
        cls.one.apply({
            "good": {"command": ["true"], "schedule": "0 3 * * *", "timezone": "Europe/Paris", "description": "Works.",
                     "owner": "alice", "labels": {"team": "finance"}},
            "bad": {"command": ["sh", "-c", "printf '%s' \"$0\"; exit 3", HARM], "description": HARM, "owner": HARM[:200],
                    "labels": {"team": "x" * 60}, "schedule": NEVER},
            LONG: {"command": ["true"], "description": "x" * 500, "schedule": "*/7 1-5,9-23/2 1,15,31 2-11 mon-fri"},
            "paused": {"command": ["true"], "schedule": "0 4 * * *"}})
        cls.run_id = cls.one.cli.call("trigger", "bad", "--wait", "-o", "json").json()["run"]
        cls.words = {"run": cls.run_id, "time": cls.one.cli.run(cls.run_id)["fire_time"]}
        for job in ("good", LONG):
            cls.one.cli.check("trigger", job, "--wait")
        cls.one.cli.check("pause", "paused", "--reason", HARM)

    @classmethod
    def tearDownClass(cls):
        cls.one.stop()

    # ---- who looks ----

    def log_in(self, role):
        """As a person does: with a token, or by the link that `cronsched ui` prints."""
        self.browser.forget()
        if role == "admin":
            self.browser.get(self.one.cli.check("ui", "--print").out.strip())
        else:
            self.browser.get(f"{self.site}/ui/login?next=/ui/jobs")
            self.browser.value(f"document.querySelector('[name=token]').value = {self.tokens[role]!r}")
        self.press("form.card button")
        lab.wait_for(lambda: f"({role})" in self.browser.content(".who"), 20, "the login")

    def press(self, selector):
        self.browser.driver.find_element("css selector", selector).click()

    # ---- each page ----

    def look_at(self, path, heading, part, role, scripts):
        """Words about what is wrong with it: at both widths, each in one of the colours, which the other looks change about."""
        browser, found = self.browser, []
        browser.look(scripts=scripts)
        browser.get(self.site + path)
        if self.browser.content("h1") != heading:
            found.append(f"its heading is {self.browser.content('h1')!r}")
        if not browser.value(f"!!document.querySelector({part!r})"):
            found.append(f"there is no {part}")
        for i, width in enumerate(WIDTHS):
            dark = (i + ROLES.index(role)) % 2 == 1
            browser.look(width, dark, scripts)
            found += [f"{width} px, {'dark' if dark else 'light'}: {p}" for p in browser.problems()]
        found += browser.unnamed() + browser.trespasses(self.host)
        if role == "read" and browser.value("!!document.querySelector('main form[method=post]:not([action=\"/ui/login\"])')"):
            found.append("it offers to change something")
        return [f"{path} as {role}, scripts {'on' if scripts else 'off'}: {p}" for p in found]

    def check_as(self, role):
        self.log_in(role)
        self.browser.trespasses(self.host)
        found = []
        for i, (path, heading, part, least) in enumerate(PAGES):
            if ROLES.index(role) < ROLES.index(least):
                self.browser.get(self.site + path.format(**self.words))
                self.assertIn(f"needs the role '{least}'", self.browser.content(), path)
            else:
                # two looks for each page, or three, over the roles: with scripts and without are among them
                for scripts in (True, False) if least == "admin" else ((i + ROLES.index(role)) % 2 == 0,):
                    found += self.look_at(path.format(**self.words), heading.format(**self.words), part, role, scripts)
        self.browser.look()
        self.assertNone(found)

    def test_each_page_as_one_who_reads(self):
        self.check_as("read")

    def test_each_page_as_one_who_operates(self):
        self.check_as("operate")

    def test_each_page_as_one_who_administers(self):
        self.check_as("admin")

    def test_the_checks_find_what_is_wrong(self):
        self.browser.get("about:blank")
        self.browser.look(320, False)
        frame = self.browser.cdp("Page.getFrameTree")["frameTree"]["frame"]["id"]
        self.browser.cdp("Page.setDocumentContent", frameId=frame, html=FAULTY)
        found = self.browser.problems() + self.browser.unnamed()
        self.assertNone(f"not found: {fault}; found: {found}" for fault in FAULTS if not any(fault in f for f in found))
        self.browser.value("new Image().src = 'http://evil.example/x.png', 0")
        lab.wait_for(lambda: "a request to evil.example" in self.browser.trespasses(self.host), 20, "the request to be seen")

    # ---- keys ----

    def test_the_tab_key_goes_through_all_in_the_order_of_the_page(self):
        self.log_in("operate")
        self.browser.look(scripts=False)
        for path in ("/ui/jobs?sort=name",):
            self.browser.get(self.site + path)
            wanted = self.browser.value("""[...document.querySelectorAll('a[href], button, input:not([type=hidden]), select, textarea, summary')]
                .map((e, i) => (e.dataset.test = i, String(i)))""")
            seen, thin = [], []
            for _ in wanted[:40]:
                self.browser.press_key("Tab")
                at, outline, shown = self.browser.value("""(() => { const e = document.activeElement, s = getComputedStyle(e), b = e.getBoundingClientRect();
                    return [e.dataset.test, s.outlineStyle === 'none' ? 0 : parseFloat(s.outlineWidth), b.right > 0 && b.bottom > 0]; })()""")
                seen.append(at)
                if outline < 2 or not shown:
                    thin.append(at)
            self.assertEqual(wanted[:40], seen, path)
            self.assertEqual([], thin, "the focus is not seen")
        self.browser.look()

    # ---- forms that need more than names ----

    def test_a_run_with_parameters_and_the_same_again(self):
        self.one.apply({"args": {"command": ["true"]}}, name="args.yaml")
        self.log_in("operate")
        self.browser.look(scripts=False)
        self.browser.get(f"{self.site}/ui/jobs/args/trigger")
        value = "\n+ & # % ; = \" é\nend\n"
        name, text = self.browser.all("[name=name]")[0], self.browser.all("[name=value]")[0]
        name.send_keys("a")
        text.send_keys(value)
        self.press("form.card button")
        lab.wait_for(lambda: self.browser.content("h1").startswith("args@"), 20, "the run")
        first = self.browser.content("h1")
        self.browser.driver.back()
        self.press("form.card button")  # the same key
        lab.wait_for(lambda: self.browser.content("h1") == first, 20, "the run")
        self.browser.get(f"{self.site}/ui/jobs/args/trigger?run={first}")
        self.press("form.card button")
        lab.wait_for(lambda: self.browser.content("h1").startswith("args@") and self.browser.content("h1") != first, 20, "another run")
        self.assertEqual([{"a": value}] * 2, [self.one.cli.wait_end(r["run"])["params"] for r in self.one.cli.runs("args")])
        self.browser.look()

    def test_a_backfill_says_first_what_it_will_run(self):
        self.log_in("operate")
        self.browser.get(f"{self.site}/ui/jobs/good/backfill?from=2026-11-01T00:00:00Z&to=2026-11-03T00:00:00Z")
        self.assertEqual(["2026-11-01 02:00:00 UTC", "2026-11-02 02:00:00 UTC"], [e.text for e in self.browser.all("main ol li")])
        self.assertEqual([], self.backfilled())
        self.press("form.card button")
        lab.wait_for(lambda: self.browser.content("h1") == "good", 20, "the page of the job")
        lab.wait_for(lambda: len(self.backfilled()) == 2, 20, "them to run")
        self.browser.driver.back()
        self.assertIn("Fire times of this span that have no run: 0", self.browser.content())

    def backfilled(self):
        return [r for r in self.one.cli.runs("good") if r["cause"] == "backfill"]

    # ---- what means harm ----

    def test_texts_that_mean_harm_are_shown_and_do_nothing(self):
        self.log_in("admin")
        self.browser.get(f"{self.site}/ui/jobs")
        shown = self.browser.content("[data-job=bad]")
        self.assertIn("<script>alert(1)</script><img src=x onerror=alert(1)>\"'><b id=main>&amp; ", shown)
        self.assertNotRegex(self.browser.value("document.documentElement.outerHTML"), "[\u202a-\u202e\u2066-\u2069\u200e\u200f]")
        self.assertEqual([], self.browser.trespasses(self.host))
        for attack in (HARM[:200], "\0", "%00", "\ud7ff\uffff", "../../etc", "\r\nSet-Cookie: a=b", "{{7*7}}", "' or 1=1 --"):
            self.browser.get(f"{self.site}/ui/jobs?q=" + urllib.parse.quote(attack))
            self.assertIn(self.browser.value("document.scripts.length"), (0, 1), attack)  # 0: it is refused as no request at all
            self.assertEqual(0, self.browser.value("document.querySelectorAll('main img, main script, main b').length"), attack)
            self.assertEqual([], self.browser.trespasses(self.host), attack)

    # ---- the session ----

    def test_the_cookie_is_hidden_from_scripts_and_ends_with_the_logout(self):
        self.log_in("operate")
        self.assertEqual("", self.browser.value("document.cookie"))
        cookie = next(c for c in self.browser.driver.get_cookies() if c["name"].startswith("cronsched-"))
        self.assertEqual((True, "Lax"), (cookie["httpOnly"], cookie["sameSite"]))
        self.browser.get(f"{self.site}/ui/jobs")
        self.assertIn("alice", self.browser.content())
        self.press("form[action='/ui/logout'] button")
        self.browser.driver.back()
        lab.wait_for(lambda: self.browser.content("h1") == "Log in", 20, "the login page")
        self.assertNotIn("alice", self.browser.content("body"))


if __name__ == "__main__":
    lab.main()
