"""Chromium without a screen, driven over its debugging pipe: enough to open a page, run scripts in it, and look."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome")
CHROMIUM = next((path for name in NAMES if (path := shutil.which(name))), None)
"""The browser's path; None where there is none."""

FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update", "--remote-debugging-pipe",
)  # fmt: skip


class Browser:
    """A browser with one page; use it in a `with` block. `problems` collects console errors and exceptions."""

    def __init__(self, width: int = 1400, height: int = 900, dark: bool = False) -> None:
        self.problems: list[str] = []
        self.count = 0
        self.rest = b""
        self.folder = tempfile.mkdtemp(prefix="wengert-browser-")
        to_read, self.to_write = os.pipe()
        self.to_read, to_write = os.pipe()
        # The browser reads commands from descriptor 3 and writes answers to 4; the shell moves ours there.
        high = [os.dup2(fd, number, inheritable=True) for fd, number in ((to_read, 63), (to_write, 62))]
        os.close(to_read)
        os.close(to_write)
        command = [str(CHROMIUM), *FLAGS, f"--user-data-dir={self.folder}", f"--window-size={width},{height}"]
        self.process = subprocess.Popen(
            ["bash", "-c", 'exec 3<&63 4>&62 63<&- 62>&-; exec "$@"', "bash", *command, "about:blank"],
            pass_fds=high, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        for fd in high:
            os.close(fd)
        target = self.call("Target.getTargets")["targetInfos"][0]["targetId"]
        self.session: str | None = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Runtime", "Page", "Log"):
            self.call(f"{domain}.enable")
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        if dark:
            self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "dark"}])

    session: str | None = None

    def __enter__(self) -> Browser:
        return self

    def __exit__(self, *_: object) -> None:
        # Closing the pipe ends the browser and its children; killing it would leave them writing into the folder.
        os.close(self.to_write)
        os.close(self.to_read)
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def call(self, method: str, **params: Any) -> Any:
        """Send a command and wait for its answer."""
        self.count += 1
        number = self.count
        message: dict[str, Any] = {"id": number, "method": method, "params": params}
        if self.session is not None:
            message["sessionId"] = self.session
        data = json.dumps(message).encode() + b"\0"
        while data:
            data = data[os.write(self.to_write, data) :]
        while True:
            answer = self.receive()
            if answer.get("id") == number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']}")
                return answer["result"]
            self.note(answer)

    def receive(self) -> dict[str, Any]:
        while b"\0" not in self.rest:
            data = os.read(self.to_read, 1 << 20)
            if not data:
                raise RuntimeError("the browser has ended")
            self.rest += data
        line, self.rest = self.rest.split(b"\0", 1)
        return json.loads(line)  # type: ignore[no-any-return]

    def note(self, event: dict[str, Any]) -> None:
        params = event.get("params", {})
        if event.get("method") == "Runtime.exceptionThrown":
            detail = params["exceptionDetails"]
            self.problems.append(str(detail.get("exception", detail).get("description", detail)))
        elif event.get("method") == "Runtime.consoleAPICalled" and params["type"] in {"error", "warning"}:
            self.problems.append(str([arg.get("value", arg.get("description")) for arg in params["args"]]))
        elif event.get("method") == "Log.entryAdded" and params["entry"]["level"] in {"error", "warning"}:
            self.problems.append(params["entry"]["text"])

    def open(self, path: Path) -> None:
        self.call("Page.navigate", url=path.absolute().as_uri())
        self.until("document.readyState === 'complete'")

    def run(self, script: str) -> Any:
        """The value of a script, a promise's included."""
        answer = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in answer:
            raise RuntimeError(str(answer["exceptionDetails"]))
        return answer["result"].get("value")

    def until(self, script: str, seconds: float = 60.0) -> None:
        """Wait until a script gives true."""
        end = time.monotonic() + seconds
        while not self.run(script):
            if time.monotonic() > end:
                raise TimeoutError(f"still not so after {seconds} s: {script}")
            time.sleep(0.05)

    def ready(self, seconds: float = 60.0) -> None:
        """Wait until the page has laid out what is open."""
        self.until("document.body.dataset.state !== 'placing'", seconds)

    def click(self, x: float, y: float) -> None:
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def type(self, text: str) -> None:
        self.call("Input.insertText", text=text)

    def key(self, name: str) -> None:
        code = {"Enter": 13, "Escape": 27}[name]
        for kind in ("keyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=name, code=name, windowsVirtualKeyCode=code)

    def screenshot(self, path: Path) -> None:
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"]))

    def print(self, path: Path) -> None:
        """The page as a PDF file, as the print dialogue would make it."""
        path.write_bytes(base64.b64decode(self.call("Page.printToPDF", landscape=True, printBackground=True)["data"]))
