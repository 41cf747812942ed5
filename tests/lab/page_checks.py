"""What is wrong with a page as a browser shows it: names of controls from the accessibility tree, contrast and sizes from what is
shown, structure, what breaks the page's policy, what asks other hosts. See page_checks.js.
"""

import base64
import os
import re

from browser import Browser

HERE = os.path.dirname(os.path.abspath(__file__))
# roles of the accessibility tree that a person can operate: each needs a name
CONTROLS = {"button", "checkbox", "combobox", "link", "listbox", "menuitem", "option", "radio", "searchbox", "slider", "spinbutton",
            "switch", "tab", "textbox", "DisclosureTriangle"}
KEYS = {"Tab": 9, "Enter": 13, "Escape": 27}
# a page that is answered with an error is shown all the same
EXPECTED = re.compile(r"server responded with a status of 40[0134]")


class Checker(Browser):
    def __init__(self, folder):
        super().__init__(folder)
        self.cdp("Accessibility.enable")
        self.cdp("Page.addScriptToEvaluateOnNewDocument", source="window.alert = window.confirm = window.prompt = () => {"
                 "(window.violations = window.violations || []).push('a dialog was opened') }")
        with open(os.path.join(HERE, "page_checks.js"), encoding="utf-8") as f:
            self.checks = f.read()

    def forget(self):
        """Nobody is logged in any more."""
        self.cdp("Network.clearBrowserCookies")

    def value(self, expression):
        """Of an expression in the page; also where the page's own scripts may not run."""
        answer = self.cdp("Runtime.evaluate", expression=expression, returnByValue=True)
        if "exceptionDetails" in answer:
            raise AssertionError(f"the script of the test failed: {answer['exceptionDetails']}")
        return answer["result"].get("value")

    def content(self, selector="main"):
        """The text of the element; "": there is none."""
        return self.value(f"document.querySelector({selector!r})?.textContent") or ""

    def press_key(self, key):
        for kind in ("rawKeyDown", "keyUp"):
            self.cdp("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=KEYS[key])

    def picture(self, height=640):
        """A PNG of the top of the page."""
        clip = {"x": 0, "y": 0, "width": self.value("innerWidth"), "height": height, "scale": 1}
        return base64.b64decode(self.cdp("Page.captureScreenshot", format="png", clip=clip)["data"])

    def unnamed(self):
        """Controls that the accessibility tree gives no name."""
        nodes = self.cdp("Accessibility.getFullAXTree")["nodes"]
        return [f"a {n['role']['value']} without a name" for n in nodes
                if not n.get("ignored") and n.get("role", {}).get("value") in CONTROLS and not n.get("name", {}).get("value", "").strip()]

    def problems(self):
        """Of the page as it is shown now."""
        return self.value(f"({self.checks})()")

    def trespasses(self, host):
        """What it did since this was asked last that no page may do."""
        found = [c for c in self.complaints() if not EXPECTED.search(c)]
        return found + [f"a request to {other}" for other in self.hosts() - {host}]
