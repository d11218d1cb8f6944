"""A real browser for tests: headless Chromium, spoken to in its DevTools protocol over a pipe.

No port is opened. Where no browser is installed, `open_page` skips the test and says so.
"""

import contextlib
import fcntl
import json
import os
import select
import shutil
import subprocess
import tempfile
import time

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
SECONDS = 60


def find_browser():
    """The first Chromium on the path, or None."""
    return next((found for name in NAMES if (found := shutil.which(name))), None)


class Page:
    """A tab: evaluates scripts, presses keys, reads what a screen reader is told."""

    def __init__(self, read, write):
        self._read, self._write = read, write
        self._buffer, self._number, self._session = b"", 0, None
        self.faults = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Accessibility"):
            self.call(f"{domain}.enable")

    def call(self, method, **parameters):
        """Send a command and wait for its result."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("method") == "Runtime.exceptionThrown":
                self.faults.append(answer["params"]["exceptionDetails"])
            if answer.get("id") == self._number:
                assert "error" not in answer, (method, answer["error"])
                return answer["result"]

    def _next(self):
        end = time.monotonic() + SECONDS
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._read], [], [], max(0, end - time.monotonic()))
            assert ready, "the browser did not answer in time"
            received = os.read(self._read, 1 << 20)
            assert received, "the browser has ended"
            self._buffer += received
        message, _, self._buffer = self._buffer.partition(b"\0")
        return json.loads(message)

    def evaluate(self, script):
        """The value of an expression, of a promise its outcome."""
        found = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def until(self, condition):
        """Wait in the page until an expression holds."""
        held = self.evaluate(
            f"""new Promise((resolve) => {{
                const end = performance.now() + {SECONDS * 500};
                const look = () => (({condition}) ? resolve(true)
                    : performance.now() > end ? resolve(false) : setTimeout(look, 5));
                look();
            }})"""
        )
        assert held, f"{condition} never held; the count reads {self.text('#count')!r}"

    def load(self, address, width=1280, height=900, dark=False):
        """Load a page in a window of the given size and scheme."""
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=width < 600,
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])
        self.call("Page.navigate", url="about:blank")
        self.call("Page.navigate", url=address)
        self.until("location.href !== 'about:blank' && document.readyState === 'complete'")

    def open(self, address, width=1280, height=900, dark=False):
        """Load the answer browser, until its data are there."""
        self.load(address, width, height, dark)
        self.until("document.querySelector('#count')")
        self.until("!document.querySelector('#count').textContent.startsWith('Loading')")

    def press(self, key, shift=False):
        """Press and release a key."""
        codes = {"Tab": 9, "Enter": 13, "Escape": 27, "ArrowUp": 38, "ArrowDown": 40, "PageDown": 34}
        code = codes.get(key, ord(key[0].upper()))
        text = {"text": "\r"} if key == "Enter" else {"text": key} if len(key) == 1 else {}
        shared = {"key": key, "windowsVirtualKeyCode": code, "modifiers": 8 if shift else 0}
        self.call("Input.dispatchKeyEvent", type="keyDown", **shared, **text)
        self.call("Input.dispatchKeyEvent", type="keyUp", **shared)

    def focus(self):
        """The id of what has the focus, else its class."""
        return self.evaluate("document.activeElement.id || document.activeElement.className")

    def tab_to(self, id_, most=30):
        """Press Tab until an element has the focus; give what was passed."""
        passed = []
        while self.focus() != id_:
            passed.append(self.focus())
            assert len(passed) <= most, f"Tab does not reach {id_}: {passed}"
            self.press("Tab")
        return passed

    def text(self, selector):
        """The text of an element."""
        return self.evaluate(f"document.querySelector({json.dumps(selector)})?.innerText")

    def accessible(self):
        """(role, name) of all that a screen reader is told of."""
        nodes = self.call("Accessibility.getFullAXTree")["nodes"]
        return [
            (node["role"]["value"], node.get("name", {}).get("value", ""))
            for node in nodes
            if not node["ignored"]
        ]


@contextlib.contextmanager
def open_page():
    """A page of a browser that ends with the block."""
    program = find_browser()
    if program is None:
        pytest.skip("not run: no browser is installed")
    to_browser, from_browser = os.pipe(), os.pipe()
    # The protocol wants 3 and 4, which these numbers may not be before they are moved.
    read, write = (fcntl.fcntl(fd, fcntl.F_DUPFD, 10) for fd in (to_browser[0], from_browser[1]))

    def place():
        os.dup2(read, 3)
        os.dup2(write, 4)

    with tempfile.TemporaryDirectory(prefix="deepvalues-browser-", ignore_cleanup_errors=True) as profile:
        options = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--remote-debugging-pipe"]
        process = subprocess.Popen(
            [program, *options, f"--user-data-dir={profile}", "about:blank"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            preexec_fn=place,  # noqa: PLW1509 -- the one way to hand over numbers 3 and 4
            pass_fds=(3, 4),
            start_new_session=True,
        )
        for fd in (to_browser[0], from_browser[1], read, write):
            os.close(fd)
        try:
            page = Page(from_browser[0], to_browser[1])
            yield page
            page._session = None
            page.call("Browser.close")
            process.wait(SECONDS)
        finally:
            process.kill()
            process.wait()
            os.close(to_browser[1])
            os.close(from_browser[0])
