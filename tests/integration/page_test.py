#!/usr/bin/python3
"""The page in a real browser: what it shows, that it stays up to date, what its forms do, with scripts and without; that nothing
breaks its policy and nothing is asked of other hosts."""

import http.client
import json
import os
import re
import sys
import time
import urllib.parse

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lab"))
import lab  # noqa: E402
from browser import Browser, why_no_browser  # noqa: E402
from cluster_test import Cluster  # noqa: E402
from zookeeper import free_ports, why_no_zookeeper  # noqa: E402

HOSTILE = "<script>document.title='taken'</script>\" onload='x' \u202egnp.exe"
CONTRAST = """
const lum = c => { const [r, g, b] = c.map(v => (v /= 255) <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4);
                   return .2126 * r + .7152 * g + .0722 * b };
const rgb = s => s.match(/[\\d.]+/g).map(Number);
const back = e => { for (; e; e = e.parentElement) { const c = rgb(getComputedStyle(e).backgroundColor);
                                                    if (c.length < 4 || c[3] === 1) return c.slice(0, 3) } return [255, 255, 255] };
const poor = [];
for (const e of document.querySelectorAll('body *')) {
  if (![...e.childNodes].some(n => n.nodeType === 3 && n.data.trim()) || !e.checkVisibility()) continue;
  const a = lum(rgb(getComputedStyle(e).color).slice(0, 3)), b = lum(back(e));
  const ratio = (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
  if (ratio < 4.5) poor.push(e.tagName + '.' + e.className + ' ' + ratio.toFixed(2) + ' ' + e.textContent.slice(0, 30));
}
return poor;
"""
UNNAMED = """
return [...document.querySelectorAll('input:not([type=hidden]), button, a, select, textarea, svg[role=img]')].filter(e =>
  !(e.getAttribute('aria-label') || e.textContent.trim() || e.closest('label')?.textContent.trim())).map(e => e.outerHTML.slice(0, 80));
"""


class Page(lab.Suite):
    """One server and one browser for all of it: both take long to start."""

    def setUp(self):
        super().setUp()
        if why_no_browser():
            self.skipTest(why_no_browser())

    def serve(self):
        port, = free_ports(1)
        server = self.server(config={"listen": [f"unix:{self.folder.join('server')}/cronsched.sock", f"127.0.0.1:{port}"]}).start()
        self.base = f"http://127.0.0.1:{port}"
        return server

    def login(self, browser, server):
        """By the link that `cronsched ui` prints, and its button."""
        browser.get(server.cli.check("ui", "--print").out.strip())
        self.assertIn("unix:root", browser.text("form.card"))
        browser.find("form.card button").click()
        self.at(browser, "h1", "Now")

    def assertFine(self, browser, what):
        self.assertEqual([], browser.complaints(), what)
        self.assertEqual({self.base[7:]}, browser.hosts(), what)
        self.assertEqual([], browser.run(CONTRAST), what)
        self.assertEqual([], browser.run(UNNAMED), what)
        wide, width = browser.run("return [document.documentElement.scrollWidth, innerWidth]")
        self.assertLessEqual(wide, width, f"{what}: it is scrolled sideways")
        self.assertEqual(1, len(browser.all("h1")), what)

    def test_the_page_in_a_browser(self):
        server = self.serve()
        jobs = {"bad": {"command": ["sh", "-c", "printf '\\033[31mred\\033[0m <b>bold</b>\\n'; exit 3"], "description": HOSTILE},
                "good": {"command": ["true"], "schedule": "0 3 * * *", "timezone": "Europe/Paris", "owner": "alice"},
                "slow": {"command": ["sh", "-c", "for i in 1 2 3 4 5 6 7 8 9; do printf '\\033[1mtick\\033[0m %s\\n' $i; sleep 1; done; sleep 100"]}, "idle": {"command": ["true"], "schedule": "0 0 1 1 *"}}
        server.apply(jobs)
        run = server.cli.trigger("bad")
        server.cli.wait_end(run)
        slow = server.cli.trigger("slow")
        browser = Browser(self.folder)
        try:
            browser.get(self.base + "/ui/jobs")
            self.assertEqual("Log in", browser.text("h1"))
            self.login(browser, server)
            browser.complaints(), browser.hosts()  # the page before the login was a 401, which is a complaint
            self.each_page(browser, run)
            self.stays_up_to_date(browser, server)
            self.forms(browser, server, slow)
            self.without_scripts(browser, server, run)
            self.after_the_server_was_away(browser, server)
        finally:
            browser.close()

    def at(self, browser, selector, text):
        """The page that a click leads to is on its way."""
        lab.wait_for(lambda: browser.all(selector) and text in browser.text(selector), 20, f"{text} at {selector}", every=0.05)

    def each_page(self, browser, run):
        pages = ["/ui/", "/ui/jobs", "/ui/jobs?q=state:failing&sort=failures", "/ui/jobs/bad", "/ui/runs", f"/ui/runs/{run}"]
        for width, dark in ((1280, False), (320, True)):
            browser.look(width, dark)
            for page in pages:
                browser.get(self.base + page)
                self.assertFine(browser, f"{page} at {width}")
                self.assertNotEqual("taken", browser.driver.title)
        browser.look()
        browser.get(f"{self.base}/ui/runs/{run}")
        self.assertEqual("red <b>bold</b>", browser.text("pre.log"))
        self.assertIn("failed", browser.text("#part-facts"))
        browser.get(self.base + "/ui/jobs?q=bad")
        self.assertEqual(1, len(browser.all("tbody tr")))
        self.assertIn("document.title='taken'", browser.text("tbody tr"))
        self.assertNotIn("\u202e", browser.text("tbody tr"))
        self.assertEqual("1 failed; the newest: failed", browser.find("svg.strip").get_attribute("aria-label"))

    def stays_up_to_date(self, browser, server):
        browser.get(self.base + "/ui/jobs")
        lab.wait_for(lambda: browser.text("#live") == "live", 20, "it to be live")
        self.assertIn("–", browser.text("tr[data-job=good]"))
        since = time.monotonic()
        server.cli.call("trigger", "good", "--wait")
        lab.wait_for(lambda: "succeeded" in browser.text("tr[data-job=good]"), 20, "the verdict to be seen", every=0.02)
        lab.say(f"a verdict is seen after {time.monotonic() - since:.2f} s, the run and its start included")
        self.assertEqual([], browser.complaints())
        # whoever has chosen a row keeps it
        browser.find("tr[data-job=idle] input").click()
        server.cli.call("trigger", "good", "--wait")
        lab.wait_for(lambda: browser.all(".offer button"), 20, "changes to be offered")
        self.assertTrue(browser.find("tr[data-job=idle] input").is_selected())

    def forms(self, browser, server, slow):
        browser.get(self.base + "/ui/jobs")
        for job in ("idle", "good"):
            browser.find(f"tr[data-job={job}] input").click()
        browser.find("button[value=pause]").click()
        self.at(browser, "h1", "Pause")
        self.assertEqual({"idle", "good"}, {e.text for e in browser.all("main li")})
        browser.find("input[name=reason]").send_keys("work & \"rest\"")
        browser.find("form.card button").click()
        self.at(browser, "h1", "Jobs")
        self.assertIn('work & "rest"', browser.text("tr[data-job=idle]"))
        self.assertEqual(["good", "idle"], sorted(j["job"] for j in server.cli.json("jobs", "--paused")))
        browser.get(self.base + "/ui/jobs/good")
        browser.find("button[value=trigger]").click()
        browser.find("form.card button").click()
        self.at(browser, "h1", "good@")
        browser.driver.back()  # and once more with the same key
        browser.find("form.card button").click()
        self.at(browser, "h1", "good@")
        self.assertEqual(3, len(server.cli.runs("good")))
        browser.get(f"{self.base}/ui/runs/{slow}")
        lab.wait_for(lambda: "tick 9" in browser.text("pre.log"), 30, "the log to go on")
        self.assertEqual([f"tick {i}" for i in range(1, 10)], browser.text("pre.log").split("\n"))
        browser.find("button[value=kill]").click()
        browser.find("form.card button").click()
        self.assertEqual("killed", server.cli.wait_end(slow)["verdict"])
        lab.wait_for(lambda: "killed" in browser.text("#part-facts"), 20, "the page to say so")
        self.assertEqual([], browser.complaints())

    def without_scripts(self, browser, server, run):
        browser.look(scripts=False)
        browser.get(self.base + "/ui/jobs")
        browser.find("input[name=q]:not(#jump)").send_keys("owner:alice")
        browser.find(".filter button").click()
        lab.wait_for(lambda: browser.attributes("tbody tr", "data-job") == ["good"], 20, "the filter", every=0.05)
        browser.find("thead a").click()
        lab.wait_for(lambda: "sort=name" in browser.driver.current_url, 20, "the order", every=0.05)
        self.assertIn("q=owner", browser.driver.current_url)
        browser.find("tbody th a").click()
        self.at(browser, "h1", "good")
        browser.find("button[value=resume]").click()
        self.at(browser, "h1", "Resume")
        browser.find("form.card button").click()
        self.at(browser, "h1", "good")
        self.assertEqual(["idle"], [j["job"] for j in server.cli.json("jobs", "--paused")])
        browser.get(f"{self.base}/ui/runs/{run}")
        self.assertEqual("red <b>bold</b>", browser.text("pre.log"))
        browser.find("button[value=dark]").click()
        lab.wait_for(lambda: browser.attributes("html", "data-theme") == ["dark"], 20, "the theme", every=0.05)
        browser.look()

    def after_the_server_was_away(self, browser, server):
        browser.get(self.base + "/ui/jobs")
        lab.wait_for(lambda: browser.text("#live") == "live", 20, "it to be live")
        server.kill()
        lab.wait_for(lambda: re.match("not live since", browser.text("#live")), 20, "it to say that it is not")
        server.start()  # with another key: what was logged in is not any more
        lab.wait_for(lambda: "logged out" in browser.text("#live"), 30, "it to say that")
        self.login(browser, server)


class Replicas(lab.Suite):
    """Without a browser: what any replica has to do."""

    def setUp(self):
        super().setUp()
        if why_no_zookeeper():
            self.skipTest(why_no_zookeeper())

    def ask(self, port, path, form=None, cookie=""):
        """(status, headers, text) of a page, as a browser that is logged in asks."""
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        body = urllib.parse.urlencode(form) if form else None
        connection.request("POST" if form else "GET", path, body, {
            "Cookie": cookie, "Sec-Fetch-Site": "same-origin", "Content-Type": "application/x-www-form-urlencoded"})
        answer = connection.getresponse()
        return answer.status, dict(answer.getheaders()), answer.read().decode()

    def test_a_standby_shows_and_does_the_same_for_who_logged_in_at_the_leader(self):
        c = Cluster(self)
        leader, standby = c.wait_leader(), c.others(c.wait_leader())[0]
        at = dict(zip(c.servers, c.ports))
        leader.apply({"a": {"command": ["true"]}, "b": {"command": ["true"]}})
        link = urllib.parse.urlsplit(leader.cli.check("ui", "--print").out.strip())
        code = urllib.parse.parse_qs(link.query)["code"][0]
        lab.wait_for(lambda: "b" in [j["job"] for j in standby.cli.json("jobs")], 20, "the standby to know the jobs")
        status, headers, _ = self.ask(at[leader], "/ui/login", {"code": code})
        self.assertEqual((303, "/ui/"), (status, headers["Location"]))
        cookie = headers["Set-Cookie"].split(";")[0]
        who = json.loads(self.ask(at[standby], "/v1/whoami", cookie=cookie)[2])
        self.assertEqual(("unix:root", "session", "admin"), (who["name"], who["via"], who["role"]))
        page = self.ask(at[standby], "/ui/jobs", cookie=cookie)[2]
        self.assertRegex(page, r"r\d stands by, r\d leads")
        form = {"action": "trigger", "job": "a", "key": "k", "next": "/ui/jobs"}
        status, headers, _ = self.ask(at[standby], "/ui/act", form, cookie)
        self.assertEqual(303, status)
        run = urllib.parse.unquote(headers["Location"].rpartition("/")[2])
        self.assertTrue(run.startswith("a@"), run)
        self.assertEqual("succeeded", standby.cli.wait_end(run)["verdict"])
        self.assertEqual("unix:root", leader.cli.run(run)["by"])
        # what was written is seen at once where it was written
        self.assertEqual(303, self.ask(at[standby], "/ui/act", {"action": "pause", "job": "b", "next": "/ui/jobs"}, cookie)[0])
        self.assertIn("paused", self.ask(at[standby], "/ui/jobs/b", cookie=cookie)[2])
        status, _, page = self.ask(at[standby], "/ui/act", [("action", "resume"), ("job", "none"), ("job", "b")], cookie)
        self.assertEqual(409, status)
        self.assertIn("none: no job none", page)
        self.assertFalse(leader.cli.json("show", "b")["paused"])
        strip = [s.http("GET", "/v1/jobs?limit=9&fields=job,strip,counts,last_success&sort=name")[1] for s in c.servers]
        self.assertEqual("s", strip[0][0]["strip"])
        self.assertEqual(strip[0], strip[1])


if __name__ == "__main__":
    lab.main()
