"""Debian's Chromium through its ChromeDriver, in the words of the WebDriver protocol."""

import base64
import json
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.servers import free_port
from tests.waiting import until

ARGUMENTS = [
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
]

PATIENCE = 120
"""Seconds that a page of a slow machine may take to show something."""


def available() -> bool:
    """Whether browser and driver are installed."""
    return shutil.which("chromium") is not None and shutil.which("chromedriver") is not None


CLICK = """const [selector, text] = arguments;
    const element = [...document.querySelectorAll(selector)]
        .find(found => text === null || found.textContent.trim() === text);
    return element?.dispatchEvent(new MouseEvent('click', {bubbles: true, cancelable: true})) !== undefined"""


class Browser:
    """One window."""

    def __init__(self, address: str, capabilities: dict[str, Any]) -> None:
        self._driver = address
        body = {"capabilities": {"alwaysMatch": capabilities}}
        self._session = f"{address}/session/{self._call(f'{address}/session', body)['sessionId']}"

    def close(self) -> None:
        """Close the window."""
        self._call(self._session, method="DELETE")

    def open(self, address: str) -> None:
        """Go to a page and wait until it is loaded."""
        self._call(f"{self._session}/url", {"url": address})

    def run(self, script: str, *arguments: Any) -> Any:
        """What a function body returns."""
        return self._call(f"{self._session}/execute/sync", {"script": script, "args": list(arguments)})

    def wait_for(self, script: str, *arguments: Any) -> Any:
        """What a function body returns, once that is true.

        Raises:
            AssertionError: it did not become true, with what the page shows.
        """
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            if found := self.run(script, *arguments):
                return found
            time.sleep(0.2)
        raise AssertionError(f"{script} {arguments} on a page with:\n{self.text()[:3000]}")

    def wait_for_text(self, *texts: str) -> None:
        """Until the page shows all of these."""
        for text in texts:
            self.wait_for("return document.body.innerText.includes(arguments[0])", text)

    def text(self) -> str:
        """What the page shows, as text."""
        return self.run("return document.body.innerText")

    def click(self, selector: str, text: str | None = None) -> None:
        """Click the first element of a selector, of those with exactly this text where it is given."""
        self.wait_for(CLICK, selector, text)

    def remember(self, key: str, value: str) -> None:
        """Let every page that is opened from now on find this in its local storage."""
        item = f"localStorage.setItem({json.dumps(key)}, {json.dumps(value)})"
        source = f"if (location.protocol.startsWith('http')) {item}"
        self.command("Page.addScriptToEvaluateOnNewDocument", source=source)

    def command(self, name: str, **parameters: Any) -> Any:
        """A command of the DevTools protocol."""
        return self._call(f"{self._session}/goog/cdp/execute", {"cmd": name, "params": parameters})

    def size(self, width: int, height: int) -> None:
        """Set the size of the viewport, that of a phone below 600 pixels."""
        parameters = {"width": width, "height": height, "deviceScaleFactor": 2 if width < 600 else 1}
        self.command("Emulation.setDeviceMetricsOverride", mobile=width < 600, **parameters)

    def console(self) -> list[str]:
        """Messages of the console and of failed requests since the last call."""
        return [entry["message"] for entry in self._call(f"{self._session}/se/log", {"type": "browser"})]

    def screenshot(self, path: Path, whole: bool = False) -> None:
        """What is in the viewport, or the whole page, laid out anew for that."""
        shot = self.command("Page.captureScreenshot", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(shot["data"]))

    def print(self, path: Path) -> None:
        """The page as a PDF, of the size that its style sheet gives."""
        pdf = self.command("Page.printToPDF", preferCSSPageSize=True, printBackground=False)
        path.write_bytes(base64.b64decode(pdf["data"]))

    def _call(self, address: str, body: dict[str, Any] | None = None, method: str = "POST") -> Any:
        data = None if method == "DELETE" else json.dumps(body).encode()
        request = urllib.request.Request(address, data, {"Content-Type": "application/json"}, method=method)
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
                return json.load(answer)["value"]
        except urllib.error.HTTPError as error:
            raise AssertionError(json.load(error)["value"]["message"]) from error


@contextmanager
def chromium(folder: Path) -> Iterator[Browser]:
    """A browser with a fresh profile in `folder`."""
    port = free_port()
    driver = subprocess.Popen([shutil.which("chromedriver"), f"--port={port}"], stdout=subprocess.DEVNULL)
    try:
        until(lambda: _listens(port), PATIENCE)
        options = {
            "binary": shutil.which("chromium"),
            "args": [*ARGUMENTS, f"--user-data-dir={folder / 'profile'}"],
        }
        logging = {"browser": "ALL"}
        browser = Browser(
            f"http://127.0.0.1:{port}", {"goog:chromeOptions": options, "goog:loggingPrefs": logging}
        )
        try:
            yield browser
        finally:
            browser.close()
    finally:
        driver.terminate()
        driver.wait(timeout=20)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
