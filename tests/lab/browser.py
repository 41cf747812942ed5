"""A browser: Debian's chromium without a screen, driven by python3-selenium."""

import shutil

from place import wait_for

VIOLATIONS = ("addEventListener('securitypolicyviolation', e => { (window.violations = window.violations || [])"
              ".push(e.violatedDirective + ' ' + e.blockedURI + ' ' + e.sample) })")


def why_no_browser():
    """Why there is none; None: there is one."""
    try:
        import selenium  # noqa: F401
    except ImportError:
        return "python3-selenium is missing"
    if not shutil.which("chromium") or not shutil.which("chromedriver"):
        return "chromium or chromium-driver is missing"
    return None


class Browser:
    """One for a suite: it takes a second or two to start."""

    def __init__(self, folder):
        from selenium import webdriver
        from selenium.webdriver.chrome.service import Service
        options = webdriver.ChromeOptions()
        for word in ("--headless=new", "--no-sandbox", "--disable-gpu", "--window-size=1280,900",
                     f"--user-data-dir={folder.make('chromium')}"):
            options.add_argument(word)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
        self.driver = webdriver.Chrome(service=Service(shutil.which("chromedriver")), options=options)
        self.cdp("Page.addScriptToEvaluateOnNewDocument", source=VIOLATIONS)

    def cdp(self, command, **words):
        return self.driver.execute_cdp_cmd(command, words)

    def look(self, width=1280, dark=False, scripts=True):
        """How the next pages are looked at."""
        self.cdp("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=False)
        self.cdp("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}])
        self.cdp("Emulation.setScriptExecutionDisabled", value=not scripts)

    def get(self, url):
        self.driver.get(url)

    def run(self, script, *words):
        return self.driver.execute_script(script, *words)

    def find(self, selector):
        """The first such element, once there is one: a page may be on its way."""
        return wait_for(lambda: next(iter(self.all(selector)), None), 20, f"an element {selector}", every=0.02)

    def all(self, selector):
        return self.driver.find_elements("css selector", selector)

    def text(self, selector):
        """Of the element, also while a part of the page takes another one's place."""
        from selenium.common.exceptions import StaleElementReferenceException
        for _ in range(10):
            try:
                return self.find(selector).text
            except StaleElementReferenceException:
                continue
        raise AssertionError(f"{selector} is replaced again and again")

    def attributes(self, selector, name):
        return self.run("return [...document.querySelectorAll(arguments[0])].map(e => e.getAttribute(arguments[1]))", selector, name)

    def complaints(self):
        """What the browser refused or missed since this was asked last: violations of the policy, errors of scripts."""
        return [e["message"] for e in self.driver.get_log("browser") if e["level"] in ("SEVERE", "WARNING")] + \
            (self.run("return window.violations || []") or [])

    def hosts(self):
        """The hosts that were asked for anything since this was asked last."""
        import json
        import urllib.parse
        asked = [json.loads(e["message"])["message"] for e in self.driver.get_log("performance")]
        urls = [m["params"]["request"]["url"] for m in asked if m["method"] == "Network.requestWillBeSent"]
        return {urllib.parse.urlsplit(u).netloc for u in urls if u.startswith("http")}

    def close(self):
        self.driver.quit()
