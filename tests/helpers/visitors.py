"""Visitors of the playground's page: headless Chromium, which Playwright drives.

Without Playwright or the playground's server, a test module that imports this one is skipped.
"""

import base64
import contextlib
import re
from urllib.parse import urlsplit

import numpy as np
import pytest
from processes import CHROMIUM, PATIENCE, wait_for

sync_api = pytest.importorskip(
    "playwright.sync_api", reason="needs Playwright: in a clone of fastnn, pip install '.[browser]'"
)
pytest.importorskip("starlette", reason="needs the server: in a clone of fastnn, pip install '.[playground]'")

expect = sync_api.expect
SWITCHES = "no-sandbox disable-gpu disable-quic no-first-run disable-background-networking disable-sync"
ARGUMENTS = [f"--{name}" for name in [*SWITCHES.split(), "disable-component-update"]]
VIEWPORT = {"width": 1280, "height": 900}
PATIENCE_MS = 1000 * PATIENCE
expect.set_options(timeout=PATIENCE_MS)
# Milliseconds after which painted points are in the state, and after which the state is in the address.
PAINT_DELAY, ADDRESS_DELAY = 125, 360

# The marks of a module whose tests need Chromium.
NEEDS_CHROMIUM = [pytest.mark.slow, pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium")]


@contextlib.contextmanager
def chromium():
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS, timeout=PATIENCE_MS)
        yield browser
        browser.close()


class Visitor:
    """A page in the browser, with the actions and queries that tests need."""

    def __init__(self, page):
        self.page = page
        self.errors = []
        page.set_default_timeout(PATIENCE_MS)
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("console", lambda one: self.errors.append(one.text) if one.type == "error" else None)

    def visit(self, server, fragment=""):
        self.page.goto(f"{server.address}#{fragment}")
        self.wait_for_frame()
        return self

    def go_to(self, fragment):
        """Paste another fragment into the address, and wait for the run that it describes."""
        self.change(lambda: self.page.evaluate("text => { location.hash = text; }", fragment))

    def wait(self, condition, argument=None):
        """Wait until a function of JavaScript returns true.

        Playwright's own `wait_for_function` evaluates strings inside the page, which the page forbids.
        """
        wait_for(lambda: self.page.evaluate(condition, argument), lambda: self.page.wait_for_timeout(50))

    def wait_for_frame(self, run=1):
        self.wait("run => Number(document.querySelector('#boundary').dataset.run) >= run", run)

    def wait_for_step(self, step):
        self.wait("step => Number(document.querySelector('#boundary').dataset.step) >= step", step)

    def rest(self):
        """Wait until the picture of a training that rests has as many pixels as the screen."""
        self.wait("""() => {
            const { width, clientWidth } = document.querySelector('#boundary');
            return width === Math.min(1024, Math.round(clientWidth * devicePixelRatio));
        }""")

    @property
    def run(self):
        return int(self.page.get_attribute("#boundary", "data-run"))

    @property
    def step(self):
        return int(self.page.get_attribute("#boundary", "data-step"))

    @property
    def fragment(self):
        # On a busy machine, the page's own clock alone tells that the time has passed for the page as well.
        # Its timers end in order: each of these ends after the page's own timer, which began earlier.
        for delay in (PAINT_DELAY, ADDRESS_DELAY):
            self.page.evaluate("delay => new Promise((done) => setTimeout(done, delay))", delay)
        return urlsplit(self.page.url).fragment

    @property
    def state(self):
        """Fields of the address."""
        return dict(field.split("=", 1) for field in self.fragment.split("&"))

    @property
    def is_playing(self):
        return self.page.get_attribute("#play", "aria-label") == "Pause"

    def change(self, action):
        """Call `action`, which begins a new run, and wait for the first frame of that run."""
        before = self.run
        action()
        self.wait_for_frame(before + 1)

    def type_into(self, field, text):
        self.page.fill(field, text)
        self.page.keyboard.press("Enter")

    def press(self, *keys):
        """Press keys while no element has the focus."""
        self.page.evaluate("document.activeElement.blur()")
        for key in keys:
            self.page.keyboard.press(key)

    def pixels(self, selector="#boundary"):
        """Return the pixels of a canvas as an array (height, width, 3)."""
        height, width, encoded = self.page.evaluate(
            """selector => {
                const canvas = document.querySelector(selector);
                const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
                const text = data.reduce((text, byte) => text + String.fromCharCode(byte), "");
                return [canvas.height, canvas.width, btoa(text)];
            }""",
            selector,
        )
        data = np.frombuffer(base64.b64decode(encoded), np.uint8)
        return data.reshape(height, width, 4)[:, :, :3]

    @property
    def widths(self):
        """Numbers of units of all layers."""
        return [int(n) for n in re.findall(r"\d+", self.page.inner_text("#network-size").split("·")[0])]

    @property
    def n_points(self):
        """Number of all samples."""
        return sum(int(self.page.inner_text(f"#{part}-count").split()[0]) for part in ("train", "test"))

    def percent(self, selector):
        return float(self.page.inner_text(selector).removesuffix("%"))

    def spot(self, x, y):
        """Return the position on the screen of a point of the plane, with coordinates from -1 to 1."""
        box = self.page.locator("#boundary").bounding_box()
        return box["x"] + (x + 1) / 2 * box["width"], box["y"] + (1 - y) / 2 * box["height"]

    def stroke(self, *points):
        mouse = self.page.mouse
        mouse.move(*self.spot(*points[0]))
        mouse.down()
        for point in points[1:]:
            mouse.move(*self.spot(*point), steps=8)
        mouse.up()

    def use_tool(self, name):
        self.page.locator(f"#tools input[value='{name}']").check()

    def choose_data(self, name):
        self.change(lambda: self.page.locator(f"input[name=dataset][value={name}]").check())


@contextlib.contextmanager
def visiting(tab):
    """Yield a visitor with the page of several tests, as a new page would be, and leave it empty."""
    tab.set_viewport_size(VIEWPORT)
    tab.emulate_media(color_scheme="light")
    tab.mouse.move(0, 0)
    visitor = Visitor(tab)
    yield visitor
    tab.evaluate("location.origin === 'null' || localStorage.clear()")
    tab.goto("about:blank")
    assert visitor.errors == []
