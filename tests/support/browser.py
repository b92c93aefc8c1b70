"""A headless Chromium, told what to do over a pipe in the DevTools protocol."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.support.patience import PATIENCE_S

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
WIDTH, HEIGHT = 1600, 1100
# All that is to be read in a page, also inside of the components' own trees and of frames.
READ = """
(function words(node) {
  if (!node) return '';
  if (node.nodeType === 3) return node.data + ' ';
  if (['STYLE', 'SCRIPT', 'TEMPLATE'].includes(node.nodeName)) return '';
  if (node.nodeName === 'IFRAME') return node.contentDocument ? words(node.contentDocument.documentElement) : '';
  if (node.nodeName === 'INPUT') return node.value + ' ';
  const inside = node.shadowRoot ? [node.shadowRoot, ...node.childNodes] : [...node.childNodes];
  return inside.map(words).join('');
})(document.documentElement)
"""


class Page:
    """The one tab of a browser."""

    def __init__(self, to_browser: int, from_browser: int) -> None:
        self._to, self._from = to_browser, from_browser
        self._count, self._received = 0, b""
        self._session: dict[str, str] = {}
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = {"sessionId": self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]}

    def call(self, method: str, **params: Any) -> Any:
        """The result of a command."""
        self._count += 1
        message = {"id": self._count, "method": method, "params": params} | self._session
        os.write(self._to, json.dumps(message).encode() + b"\0")
        while (answer := self._next()).get("id") != self._count:
            pass
        assert "error" not in answer, (method, answer)
        return answer["result"]

    def evaluate(self, expression: str) -> Any:
        """The value of a JavaScript expression, or what its promise gives."""
        found = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def open(self, address: str) -> None:
        """A fresh page, also where only what stands behind # differs."""
        self.call("Page.navigate", url="about:blank")
        self.call("Page.navigate", url=address)

    def wait_for(self, *words: str) -> str:
        """The page's text once all of these are in it."""
        end = time.monotonic() + PATIENCE_S
        while not all(word in (text := " ".join(self.evaluate(READ).split())) for word in words):
            assert time.monotonic() < end, ([word for word in words if word not in text], text[:3000])
            time.sleep(0.1)
        return text

    def screenshot(self, path: Path) -> None:
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"]))

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._received:
            chunk = os.read(self._from, 1 << 20)
            assert chunk, "the browser ended"
            self._received += chunk
        message, _, self._received = self._received.partition(b"\0")
        return json.loads(message)


@contextmanager
def browser(profile: Path) -> Iterator[Page]:
    """A browser with a profile of its own; it reads commands from its descriptor 3 and answers on 4."""
    assert CHROMIUM is not None
    commands, to_browser = os.pipe()
    from_browser, answers = os.pipe()
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars"]
    options += ["--enable-unsafe-swiftshader", "--remote-debugging-pipe", f"--user-data-dir={profile}"]
    options += [f"--window-size={WIDTH},{HEIGHT}", "--no-first-run", "--disable-background-networking"]
    redirect = f'exec "$@" 3<&{commands} 4>&{answers}'
    process = subprocess.Popen(
        ["bash", "-c", redirect, "bash", CHROMIUM, *options],
        pass_fds=(commands, answers),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    os.close(commands)
    os.close(answers)
    try:
        yield Page(to_browser, from_browser)
    finally:
        os.close(to_browser)  # it ends where nobody speaks to it any more
        process.wait()
        os.close(from_browser)
