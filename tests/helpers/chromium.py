"""A headless Chromium without a network, driven through its DevTools protocol over two pipes."""

import base64
import json
import shutil
import subprocess
import time
from contextlib import contextmanager
from threading import Timer

PATH = shutil.which("chromium")
FLAGS = (
    "--headless",
    # The sandbox is refused to root and in most containers; the page is our own.
    "--no-sandbox",
    "--disable-dev-shm-usage",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--window-size=1280,800",
    # Frames stay in the page's process, where its session sees them.
    "--disable-site-isolation-trials",
    "--remote-debugging-pipe",
)


@contextmanager
def opened(path, profile):
    """Yield the `Page` that shows the file at `path`; `profile` is an empty folder."""
    flags = [*FLAGS, f"--user-data-dir={profile}"]
    # The pipes of the protocol are the file descriptors 3 and 4.
    command = ["sh", "-c", 'exec "$0" "$@" 3<&0 4>&1 0</dev/null 1>&2', PATH, *flags]
    with (profile / "log").open("w") as log:
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, bufsize=0
        )
    watchdog = Timer(120, process.kill)
    watchdog.start()
    try:
        page = Page(process)
        page.go(path.absolute().as_uri())
        yield page
        page.browser("Browser.close")
    finally:
        watchdog.cancel()
        process.kill()
        process.wait()
        process.stdin.close()
        process.stdout.close()


class Page:
    """A page, the addresses it asked for and what went wrong in it.

    Attributes
    ----------
    requests
        Addresses that the page asked for, data addresses apart.
    problems
        Errors of its console, failed loads among them, and exceptions.
    """

    def __init__(self, process):
        self.process = process
        self.buffer = b""
        self.count = 0
        self.session = None
        self.requests = []
        self.problems = []
        target = self.browser("Target.createTarget", url="about:blank")["targetId"]
        attached = self.browser("Target.attachToTarget", targetId=target, flatten=True)
        self.session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")
        self.call(
            "Network.emulateNetworkConditions",
            offline=True,
            latency=0,
            downloadThroughput=-1,
            uploadThroughput=-1,
        )

    def browser(self, method, **params):
        """Return the answer of the browser to a method of the protocol."""
        return self._answer({"method": method, "params": params})

    def call(self, method, **params):
        """Return the answer of the page to a method of the protocol."""
        return self._answer({"method": method, "params": params, "sessionId": self.session})

    def _answer(self, message):
        self.count += 1
        text = json.dumps(message | {"id": self.count})
        self.process.stdin.write(text.encode() + b"\0")
        while (answer := self._read()).get("id") != self.count:
            self._note(answer.get("method"), answer.get("params"))
        assert "error" not in answer, (message, answer["error"])
        return answer["result"]

    def _read(self):
        while b"\0" not in self.buffer:
            chunk = self.process.stdout.read(1 << 20)
            assert chunk, "Chromium ended"
            self.buffer += chunk
        message, _, self.buffer = self.buffer.partition(b"\0")
        return json.loads(message)

    def _note(self, event, params):
        if event == "Network.requestWillBeSent":
            url = params["request"]["url"]
            self.requests += [] if url.startswith("data:") else [url]
        elif event == "Runtime.exceptionThrown":
            self.problems.append(params["exceptionDetails"])
        elif event == "Log.entryAdded" and params["entry"]["level"] == "error":
            self.problems.append(params["entry"])
        elif event == "Runtime.consoleAPICalled" and params["type"] == "error":
            self.problems.append(params["args"])

    def go(self, url):
        """Open an address and wait until it is loaded."""
        self.call("Page.navigate", url=url)
        self.wait("document.readyState == 'complete'")

    def resize(self, width, height):
        """Give the window another size in pixels."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.call("Emulation.setDeviceMetricsOverride", **size)

    def screenshot(self, path):
        """Write what the window shows as a PNG file."""
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot")["data"]))

    def evaluate(self, expression):
        """Return the value of a JavaScript expression, once its promise is kept if it is one."""
        found = self.call(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in found, (expression, found)
        return found["result"].get("value")

    def frame_text(self, seconds=30):
        """Return the text of the frame inside the page, once it is loaded."""
        end = time.monotonic() + seconds
        loaded = "document.readyState == 'complete' ? document.body.innerText : ''"
        while time.monotonic() < end:
            (child,) = self.call("Page.getFrameTree")["frameTree"]["childFrames"]
            world = self.call("Page.createIsolatedWorld", frameId=child["frame"]["id"])
            context = world["executionContextId"]
            found = self.call("Runtime.evaluate", expression=loaded, contextId=context)
            if text := found["result"]["value"].strip():
                return text
            time.sleep(0.05)
        raise AssertionError(f"the frame has no text after {seconds} s")

    def wait(self, condition, seconds=30):
        """Wait until a JavaScript expression is true."""
        end = time.monotonic() + seconds
        while not self.evaluate(f"!!({condition})"):
            assert time.monotonic() < end, f"not true within {seconds} s: {condition}"
            time.sleep(0.05)
