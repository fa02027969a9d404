"""The playground's page in headless Chromium."""

import http.client
import http.server
import io
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest
from PIL import Image

import fastnn

sync_api = pytest.importorskip(
    "playwright.sync_api", reason="needs Playwright: pip install fastnn-numba[browser]"
)
pytest.importorskip("starlette", reason="needs the server: pip install fastnn-numba[playground]")

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
ARGUMENTS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip
# Milliseconds that a step may take: the kernels may have to be compiled first.
PATIENCE = 60_000
STATIC = Path(fastnn.__file__).parent / "play" / "static"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium that could show the page"),
]


@pytest.fixture(scope="module")
def browser():
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def server():
    running = fastnn.playground(browser=False, block=False)
    yield running
    running.close()


class Visitor:
    """A page, with the questions that the tests ask."""

    def __init__(self, page):
        self.page = page
        self.errors = []
        page.set_default_timeout(PATIENCE)
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on(
            "console", lambda message: self.errors.append(message.text) if message.type == "error" else None
        )

    def visit(self, server, fragment=""):
        self.page.goto(f"{server.address}#{fragment}")
        self.wait_for_frame()
        return self

    def wait(self, condition, argument=None):
        """Wait until a function of JavaScript returns true.

        Playwright's own `wait_for_function` evaluates strings inside the page, which the page forbids.
        """
        end = time.monotonic() + PATIENCE / 1000
        while not self.page.evaluate(condition, argument):
            assert time.monotonic() < end, condition
            self.page.wait_for_timeout(15)

    def wait_for_frame(self, run=1):
        self.wait("run => Number(document.querySelector('#boundary').dataset.run) >= run", run)

    @property
    def run(self):
        return int(self.page.get_attribute("#boundary", "data-run"))

    @property
    def step(self):
        return int(self.page.get_attribute("#boundary", "data-step"))

    @property
    def fragment(self):
        self.page.wait_for_timeout(450)  # the address follows within that time
        return urlsplit(self.page.url).fragment

    def wait_for_step(self, step):
        self.wait("step => Number(document.querySelector('#boundary').dataset.step) >= step", step)

    def change(self, action):
        """Do something that begins a new run, and wait for its first frame."""
        before = self.run
        action()
        self.wait_for_frame(before + 1)

    def pixels(self, selector="#boundary"):
        """Return the pixels of a canvas as an array (height, width, 3)."""
        values = self.page.evaluate(
            """selector => {
                const canvas = document.querySelector(selector);
                const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
                return [canvas.height, canvas.width, Array.from(data)];
            }""",
            selector,
        )
        height, width, data = values
        return np.array(data, np.uint8).reshape(height, width, 4)[:, :, :3]

    @property
    def widths(self):
        """Return the numbers of units of all layers."""
        return [
            int(number) for number in re.findall(r"\d+", self.page.inner_text("#network-size").split("·")[0])
        ]

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


@pytest.fixture
def visitors(browser):
    """Return a function that opens a page; no page may have logged an error at the end."""
    contexts, opened = [], []

    def open_page(**options):
        contexts.append(browser.new_context(viewport={"width": 1280, "height": 900}, **options))
        opened.append(Visitor(contexts[-1].new_page()))
        return opened[-1]

    yield open_page
    for context in contexts:
        context.close()
    assert [error for visitor in opened for error in visitor.errors] == []


@pytest.fixture
def visitor(visitors):
    return visitors()


def test_from_page_load_to_a_trained_boundary(visitor, server):
    page = visitor.visit(server, "layers=3&speed=13").page
    assert visitor.step == 0
    assert visitor.widths == [2, 3, 2]
    assert page.inner_text("#network-size").endswith(" 17 parameters")
    before = visitor.pixels()
    page.keyboard.press("Space")
    visitor.wait_for_step(2000)
    assert page.get_attribute("#play", "aria-label") == "Pause"
    page.keyboard.press("Space")
    visitor.wait("() => !/[0-9]/.test(document.querySelector('#pace').textContent)")
    assert page.get_attribute("#play", "aria-label") == "Play"
    assert visitor.percent("#score-train") > 90
    assert re.fullmatch(
        r"Step [\d,]+: test accuracy [\d.]+ %, training [\d.]+ %\.", page.inner_text("#spoken")
    )

    after = visitor.pixels()
    assert after.shape == (256, 256, 3)
    assert (after != before).any()
    # Orange above and on the left, blue below and on the right.
    assert after[10, 10, 0] > after[10, 10, 2]
    assert after[-10, -10, 2] > after[-10, -10, 0]
    # The picture is drawn at the same step: nothing changes any more.
    stopped = visitor.step
    page.wait_for_timeout(300)
    assert visitor.step == stopped
    for selector in (".curves canvas >> nth=0", ".links", ".unit canvas >> nth=2"):
        drawn = page.locator(selector).evaluate(
            """canvas => {
                const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
                return new Set(data).size;
            }"""
        )
        assert drawn > 8, selector


def test_single_steps_epochs_and_the_beginning(visitor, server):
    page = visitor.visit(server, "batch_size=40").page
    page.click("#step")
    visitor.wait_for_step(1)
    page.keyboard.press("s")
    visitor.wait_for_step(2)
    assert page.inner_text("#step-count") == "2"
    page.keyboard.press("e")
    visitor.wait_for_step(4)  # 160 samples are 4 steps of 40
    assert page.inner_text("#epoch-count") == "1"
    trained = visitor.pixels()
    visitor.change(lambda: page.keyboard.press("r"))
    assert visitor.step == 0
    assert page.inner_text("#epoch-count") == "0"
    page.click("#epoch")
    visitor.wait_for_step(4)
    np.testing.assert_array_equal(visitor.pixels(), trained)


def test_speed(visitor, server):
    page = visitor.visit(server, "speed=3").page
    assert page.inner_text("#speed-text") == "10/s"
    page.keyboard.press("Space")
    page.wait_for_timeout(2000)
    assert 10 <= visitor.step <= 40
    page.keyboard.press("+")
    assert page.get_attribute("#speed", "aria-valuetext") == "20 steps a second"
    assert "speed=4" in visitor.fragment


def test_painting_points(visitor, server):
    page = visitor.visit(
        server, "dataset=painted&test_share=0&layers=6&optimizer=adam&learning_rate=0.05&l2=0"
    ).page
    page.click("#clear")
    visitor.use_tool("0")
    visitor.stroke((-0.8, 0.6), (-0.2, 0.6))
    visitor.use_tool("1")
    visitor.stroke((0.2, 0.6), (0.8, 0.6))
    page.keyboard.press("3")
    visitor.stroke((-0.5, -0.7), (0.5, -0.7))
    visitor.wait("() => document.querySelectorAll('#classes-legend .dot').length === 3")
    count = int(page.inner_text("#train-count").split()[0])
    assert count >= 12
    assert "dataset=painted" in visitor.fragment
    points = re.search(r"points=([^&]*)", visitor.fragment)[1].split(";")
    assert len(points) == count
    assert {point.split(",")[2] for point in points} == {"0", "1", "2"}

    page.evaluate("document.activeElement.blur()")
    page.locator("#speed").fill("13")
    page.click("#play")
    visitor.wait_for_step(1500)
    page.click("#play")
    assert visitor.percent("#score-train") == 100
    image = visitor.pixels().astype(int)
    colours = [image[int((1 - y) * 128), int((x + 1) * 128)] for x, y in [(-0.5, 0.6), (0.5, 0.6), (0, -0.7)]]
    assert colours[0].argmax() == 0  # orange
    assert colours[1].argmax() == 2  # blue
    assert colours[2].argmax() == 1  # green

    visitor.use_tool("erase")
    visitor.change(lambda: visitor.stroke((-0.6, -0.7), (0.6, -0.7)))
    assert int(page.inner_text("#train-count").split()[0]) < count
    visitor.change(lambda: page.click("#clear"))
    assert page.inner_text("#train-count") == "0 training"


def test_painting_on_another_data_set_keeps_its_points(visitor, server):
    page = visitor.visit(server, "n_samples=50").page
    visitor.use_tool("2")
    visitor.change(lambda: page.mouse.click(*visitor.spot(0.9, 0.9)))
    visitor.wait("() => document.querySelectorAll('#classes-legend .dot').length === 3")
    counts = [int(page.inner_text(f"#{part}-count").split()[0]) for part in ("train", "test")]
    assert sum(counts) == 51
    assert page.locator("input[name=dataset][value=painted]").is_checked()


def test_painting_with_the_keyboard(visitor, server):
    page = visitor.visit(server, "dataset=painted&points=").page
    page.keyboard.press("2")
    page.focus("#points")
    for key in ("ArrowRight", "ArrowRight", "ArrowUp"):
        page.keyboard.press(key)
    visitor.change(lambda: page.keyboard.press("Enter"))
    x, y, label = (int(part) for part in re.search(r"points=([^&]*)", visitor.fragment)[1].split(","))
    assert x > 0
    assert y > 0
    assert label == 1


CRAFTED = {
    "layers=abc": "every entry of layers must be a whole number",
    "layers=1000000000&noise=x": "every entry of layers must be a whole number",
    "optimizer=toString&dataset=circles": "optimizer must be one of sgd",
    "seed=1e400": "seed must be a whole number",
    "dataset=__proto__": "dataset must be one of moons",
    "x_column=<img src=x>&dataset=table": "there is no table",
    f"points={';'.join(['1,2,0'] * 6000)}&dataset=painted": "points takes at most 5,000 entries",
}


@pytest.mark.parametrize("fragment", CRAFTED, ids=lambda fragment: fragment[:20])
def test_an_address_that_cannot_be_used_is_told_and_mended(visitor, server, fragment):
    page = visitor.page
    page.goto(f"{server.address}#{fragment}")
    told = page.locator("#notices")
    sync_api.expect(told).to_contain_text("The usual value is taken")
    if "noise" not in fragment:  # the last of two problems stays
        sync_api.expect(told).to_contain_text(CRAFTED[fragment])
    if "painted" in fragment:
        assert "paint some points" in page.inner_text("#plane-caption")
        return
    visitor.wait_for_frame(2)
    page.click("#step")
    visitor.wait_for_step(1)


@pytest.mark.parametrize(
    ("fragment", "widths"),
    [("points=1,2,1000000000", [2, 3, 6]), ("points=&layers=1000000000,x", [2, 128, 1, 2])],
)
def test_an_address_without_enough_points_cannot_fill_the_page(visitor, server, fragment, widths):
    page = visitor.page
    page.goto(f"{server.address}#dataset=painted&{fragment}")
    visitor.wait_for_frame(1)
    assert visitor.widths == widths
    assert page.inner_text("#problems") == ""
    assert "paint some points" in page.inner_text("#plane-caption")


def test_an_address_that_is_too_long_is_told(visitor, server):
    page = visitor.page
    page.goto(f"{server.address}#x_column={'a' * 1_100_000}")
    sync_api.expect(page.locator("#lost")).to_contain_text("too long for the server")


def test_the_last_seed_is_followed_by_the_first(visitor, server):
    page = visitor.visit(server, f"seed={2**31 - 1}").page
    visitor.change(lambda: page.click(".dice"))
    assert page.input_value("#field-seed") == "0"
    assert page.inner_text("#problems") == ""


def test_a_training_that_has_ended_is_told_again(visitor, server):
    page = visitor.visit(server, "passes=5&speed=13").page
    for _ in range(2):
        page.keyboard.press("Space")
        sync_api.expect(page.locator("#notices")).to_contain_text("the run of 5 passes is done")
        sync_api.expect(page.locator("#play")).to_have_attribute("aria-label", "Play")
        page.locator("#notices .close").click()


def test_changing_layers_units_and_activations(visitor, server):
    page = visitor.visit(server).page

    assert visitor.widths == [2, 3, 2]
    visitor.change(lambda: page.click("#more-layers"))
    assert visitor.widths == [2, 3, 3, 2]
    visitor.change(lambda: page.get_by_label("Add a unit to hidden layer 2").click())
    assert visitor.widths == [2, 3, 4, 2]
    assert (
        page.evaluate("document.activeElement.getAttribute('aria-label')") == "Add a unit to hidden layer 2"
    )
    visitor.change(lambda: page.get_by_label("Remove a unit from hidden layer 1").click())
    assert visitor.widths == [2, 2, 4, 2]
    visitor.change(lambda: page.get_by_label("Activation of hidden layer 1").select_option("relu"))
    assert "layers=2,4" in visitor.fragment
    assert "activations=relu,tanh" in visitor.fragment
    assert page.locator(".unit").count() == 2 + 2 + 4 + 2
    for _ in range(2):
        visitor.change(lambda: page.click("#fewer-layers"))
    assert visitor.widths == [2, 2]
    assert page.is_disabled("#fewer-layers")
    visitor.change(lambda: page.click("#more-layers"))
    assert visitor.widths == [2, 3, 2]


def test_a_change_goes_on_playing(visitor, server):
    page = visitor.visit(server, "speed=13").page
    page.keyboard.press("Space")
    visitor.wait_for_step(10)
    visitor.change(lambda: page.locator("input[name=dataset][value=circles]").check())
    visitor.wait_for_step(10)
    assert page.get_attribute("#play", "aria-label") == "Pause"


def test_every_data_set_and_its_best_settings(visitor, server):
    page = visitor.visit(server, "speed=13").page
    names = page.locator("input[name=dataset]").evaluate_all("inputs => inputs.map(({ value }) => value)")
    assert {"moons", "circles", "spiral", "blobs", "xor", "surface", "painted"} <= set(names)
    page.keyboard.press("Space")
    for name in set(names) - {"painted"}:
        if page.locator(f"input[name=dataset][value={name}]").is_checked() is False:
            visitor.change(lambda name=name: page.locator(f"input[name=dataset][value={name}]").check())
        use = page.locator("#best button")
        assert page.inner_text("#best p")
        if use.is_enabled():
            visitor.change(use.click)
        assert use.is_disabled()
        visitor.wait_for_step(20)
        assert page.locator(".notice.problem").count() == 0, name


def test_the_address_round_trip(visitors, server):
    fragment = (
        "view=probability&speed=2&sample=7&dataset=spiral&arms=3&noise=0.05&n_samples=150&test_share=0.4&seed=5"
        "&layers=5,4&activations=relu,sigmoid&optimizer=adam&learning_rate=0.02&batch_size=30&l2=0.001&dropout=0.1"
        "&batch_norm=1"
    )
    pages = [visitors().visit(server, fragment) for _ in range(2)]
    for visitor in pages:
        assert sorted(visitor.fragment.split("&")) == sorted(fragment.split("&"))
        assert visitor.widths == [2, 5, 4, 3]
        assert visitor.page.input_value("#field-learning_rate") == "0.02"
        assert visitor.page.is_checked("#field-batch_norm")
        assert visitor.page.is_checked("#view input[value=probability]")
        for _ in range(2):
            visitor.page.click("#epoch")
        visitor.wait_for_step(6)
    np.testing.assert_array_equal(pages[0].pixels(), pages[1].pixels())

    # A change writes the address, a pasted address changes the page.
    first = pages[0]
    first.change(lambda: first.page.locator("#field-seed").fill("6") or first.page.keyboard.press("Enter"))
    assert "seed=6" in first.fragment
    first.change(lambda: first.page.evaluate("location.hash = '#dataset=xor&layers=4'"))
    assert first.widths == [2, 4, 2]
    assert first.page.locator("input[name=dataset][value=xor]").is_checked()


def test_export(visitor, server, tmp_path):
    page = visitor.visit(server, "layers=4&n_samples=60").page
    for step in range(1, 4):
        page.keyboard.press("s")
        visitor.wait_for_step(step)
    page.keyboard.press("p")
    page.wait_for_selector("#script-dialog[open]")
    text = page.inner_text("#script-text")
    assert "import fastnn" in text
    compile(text, "script.py", "exec")
    page.keyboard.press("Escape")

    def saved(what):
        page.click("#save")
        with page.expect_download() as download:
            page.click(f"[data-save={what}]")
        path = tmp_path / download.value.suggested_filename
        download.value.save_as(path)
        return path

    model = fastnn.load(saved("model"))
    assert list(model.layers_dim) == [2, 4, 2]
    with Image.open(io.BytesIO(saved("picture").read_bytes())) as picture:
        assert picture.format == "PNG"
        assert min(picture.size) >= 256
    with Image.open(saved("gif")) as film:
        assert film.format == "GIF"
        assert film.n_frames >= 2


def test_the_step_in_numbers(visitor, server):
    page = visitor.visit(server, "layers=2&l2=0").page
    page.keyboard.press("s")
    visitor.wait_for_step(1)
    page.get_by_label("Unit 2 of hidden layer 1").click()
    rows = {row.split("\n")[0]: row for row in page.locator(".steps li").all_inner_texts()}
    assert list(rows) == ["Sum", "Activation", "Loss", "Backward", "Gradient", "Step"]

    def numbers(text):
        return [float(part) for part in re.findall(r"-?\d+\.\d+", text.replace("\N{MINUS SIGN}", "-"))]

    w1, x1, w2, x2, bias, total = numbers(rows["Sum"].split("\n")[-1])
    assert w1 * x1 + w2 * x2 + bias == pytest.approx(total, abs=0.05)
    z, a = numbers(rows["Activation"].split("\n")[-1])
    assert z == total
    assert np.tanh(z) == pytest.approx(a, abs=0.02)
    before = page.inner_text("#sample-name")
    page.click("#next-sample")
    visitor.wait("before => document.querySelector('#sample-name').textContent !== before", before)
    page.locator(".unit.output").first.click()
    assert "Probability" in page.inner_text("#formula")

    # The value of a line is shown under the mouse.
    unit, target = (
        page.locator(f"[data-key='{key}'] canvas").bounding_box() for key in ("unit-0-0", "unit-1-0")
    )
    page.mouse.move(unit["x"] + unit["width"] + 6, unit["y"] + unit["height"] / 2)
    page.wait_for_selector("#tooltip:not([hidden])")
    assert re.fullmatch(
        r"weight \d→\d .?\d+\.\d{4}", re.sub("[₀-₉]", "1", page.inner_text("#tooltip")).replace("  ", " ")
    )
    assert target["x"] > unit["x"]


@pytest.mark.parametrize(
    ("fragment", "words"),
    [
        ("layers=10000", ["layers", "10,?000"]),
        ("layers=3,3,3,3,3,3,3,3,3,3,3,3", ["layers", "at most"]),
        ("learning_rate=fast", ["learning_rate", "fast"]),
        ("n_samples=1000000", ["n_samples", "1,?000,?000"]),
        ("optimizer=adan", ["optimizer", "adan"]),
        ("nonsense=1", ["nonsense"]),
    ],
)
def test_a_bad_address_is_explained(visitor, server, fragment, words):
    page = visitor.page
    page.goto(f"{server.address}#{fragment}")
    page.wait_for_selector(".notice:not(.busy)")
    text = page.inner_text("#problems") + page.inner_text("#notices")
    for word in words:
        assert re.search(word, text), text
    # The page goes on: another data set and the usual settings train.
    page.evaluate("location.hash = '#dataset=circles'")
    visitor.wait_for_frame()
    page.keyboard.press("s")
    visitor.wait_for_step(1)


def test_a_bad_value_is_marked_and_the_training_stays(visitor, server):
    page = visitor.visit(server).page
    page.keyboard.press("s")
    visitor.wait_for_step(1)
    page.fill("#field-noise", "7")
    page.keyboard.press("Enter")
    page.wait_for_selector("#field-noise[aria-invalid=true]")
    assert "noise" in page.inner_text("#field-noise-problem")
    assert visitor.step == 1
    visitor.change(lambda: page.fill("#field-noise", "0.1") or page.keyboard.press("Enter"))
    assert page.get_attribute("#field-noise", "aria-invalid") is None


def test_a_refused_state_lets_the_training_play_on(visitor, server):
    page = visitor.visit(server, "speed=5").page
    page.keyboard.press("Space")
    visitor.wait_for_step(10)
    page.fill("#field-noise", "7")
    page.keyboard.press("Enter")
    page.wait_for_selector("#field-noise[aria-invalid=true]")
    visitor.wait_for_step(visitor.step + 20)
    assert visitor.run == 1
    assert page.get_attribute("#play", "aria-label") == "Pause"


class Elsewhere(http.server.SimpleHTTPRequestHandler):
    """A page of another origin."""

    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(b"<!doctype html><title>elsewhere</title><link rel=icon href=data:,>")

    def log_message(self, *_):
        pass


@pytest.fixture
def elsewhere():
    foreign = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Elsewhere)
    thread = threading.Thread(target=foreign.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{foreign.server_port}/"
    foreign.shutdown()
    thread.join()
    foreign.server_close()


def test_a_foreign_page_is_refused_even_with_the_token(browser, server, elsewhere):
    context = browser.new_context()
    page = context.new_page()
    page.goto(elsewhere)
    parts = urlsplit(server.address)
    answer = page.evaluate(
        """address => new Promise((resolve) => {
            const socket = new WebSocket(address);
            let got = "nothing";
            socket.onmessage = () => { got = "a message"; };
            socket.onclose = () => resolve(got);
        })""",
        f"ws://{parts.netloc}/training?{parts.query}",
    )
    assert answer == "nothing"
    readable = page.evaluate(
        "address => fetch(address).then(() => 'readable', () => 'refused')", server.address
    )
    assert readable == "refused"
    context.close()


def test_foreign_hosts_and_wrong_tokens_are_refused(server):
    parts = urlsplit(server.address)

    def status(path, host):
        connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=30)
        connection.request("GET", path, headers={"Host": host})
        response = connection.getresponse()
        response.read()
        connection.close()
        return response.status

    own = f"/?{parts.query}"
    assert status(own, parts.netloc) == 200
    assert status(own, f"localhost:{parts.port}") == 200
    assert status(own, "evil.example") == 403
    assert status("/?token=guessed", parts.netloc) == 403
    assert status("/", parts.netloc) == 403


def test_two_tabs_are_two_trainings(visitors, server):
    first = visitors().visit(server, "speed=5")
    second = visitors().visit(server, "dataset=circles&layers=5")
    first.page.keyboard.press("Space")
    first.wait_for_step(20)
    assert second.step == 0
    assert second.widths == [2, 5, 2]
    second.page.keyboard.press("s")
    second.wait_for_step(1)
    first.page.keyboard.press("Space")
    assert second.step == 1


def test_a_dead_server_and_its_return(visitors):
    running = fastnn.playground(browser=False, block=False, token="secret")
    visitor = visitors()
    try:
        page = visitor.visit(running, "dataset=xor&layers=4&speed=13").page
        page.keyboard.press("Space")
        visitor.wait_for_step(5)
    finally:
        running.close()
    page.wait_for_selector("#lost:not([hidden])")
    assert "stopped" in page.inner_text("#lost")
    assert page.get_attribute("#play", "aria-label") == "Play"
    page.click("#reconnect")
    page.wait_for_timeout(300)
    assert page.is_visible("#reconnect")

    again = fastnn.playground(browser=False, block=False, token="secret", port=running.port)
    try:
        visitor.change(lambda: page.click("#reconnect"))
        assert page.is_hidden("#lost")
        assert visitor.widths == [2, 4, 2]
        page.keyboard.press("s")
        visitor.wait_for_step(1)
    finally:
        page.goto("about:blank")
        again.close()
    # The browser itself logs the connections that failed.
    visitor.errors = [error for error in visitor.errors if "WebSocket connection" not in error]


def test_a_command_with_a_cold_cache_says_that_it_compiles(visitor, tmp_path):
    command = [sys.executable, "-m", "fastnn", "playground", "--no-browser"]
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        try:
            address = process.stdout.readline().strip()
            page = visitor.page
            page.goto(f"{address}#layers=4&batch_norm=1&dropout=0.1")
            page.wait_for_selector("#notices .busy")
            assert "Compiling" in page.inner_text("#notices")
            visitor.wait_for_frame()
            page.keyboard.press("s")
            visitor.wait_for_step(1)
            page.wait_for_selector("#notices .busy", state="detached")
            page.goto("about:blank")
        finally:
            process.send_signal(signal.SIGINT)
        assert process.wait(timeout=30) == 0


def test_a_table_with_named_classes(visitor):
    generator = np.random.default_rng(0)
    numbers = generator.integers(0, 3, 120)
    X = np.column_stack([30 + 15 * numbers, 4e4 - 9e3 * (numbers == 1)]) + generator.normal(size=(120, 2))
    labels = np.array(["never", "sometimes", "always"])[numbers]
    with fastnn.playground(X, labels, browser=False, block=False) as running:
        page = visitor.visit(running).page
        assert page.locator("input[name=dataset][value=table]").is_checked()
        assert sorted(page.inner_text("#classes-legend").split()) == ["always", "never", "sometimes"]
        # Painting goes on from the table's points.
        visitor.use_tool("0")
        visitor.change(lambda: page.mouse.click(*visitor.spot(-0.9, 0.9)))
        counts = [int(page.inner_text(f"#{part}-count").split()[0]) for part in ("train", "test")]
        assert sum(counts) == 121
        page.goto("about:blank")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_and_both_themes(visitors, server, scheme):
    visitor = visitors(color_scheme=scheme)
    page = visitor.page
    page.set_viewport_size({"width": 360, "height": 740})
    visitor.visit(server, "dataset=spiral&arms=5&layers=8,8,8&view=probability")
    assert page.evaluate("document.documentElement.scrollWidth") == 360
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    brightness = np.mean([int(part) for part in re.findall(r"\d+", background)[:3]])
    assert (brightness < 60) if scheme == "dark" else (brightness > 200)
    pixels = visitor.pixels()
    page.click("#theme")
    assert page.evaluate("document.documentElement.dataset.theme") != scheme
    assert (visitor.pixels() != pixels).any()  # the picture follows, without a new frame


def test_labels_focus_and_help(visitor, server):
    page = visitor.visit(server, "layers=3,3").page
    nameless = page.evaluate(
        """() => [...document.querySelectorAll("button, input, select, canvas[role], dialog, [role]")]
            .filter((element) => !["alert", "status", "group", "tooltip"].includes(element.role))
            .filter((element) => !element.closest("[aria-hidden=true]") && element.ariaHidden !== "true")
            .filter((element) => !(element.ariaLabel || element.textContent.trim()
                || element.labels?.length || element.getAttribute("aria-labelledby")))
            .map((element) => element.outerHTML.slice(0, 100))"""
    )
    assert nameless == []
    assert page.locator("html").get_attribute("lang") == "en"
    # Every stop of the tab key is visibly focused.
    for _ in range(25):
        page.keyboard.press("Tab")
        outline = page.evaluate(
            """() => {
                const { activeElement: at } = document, next = at.nextElementSibling;
                return [at, next].filter(Boolean).map((element) => getComputedStyle(element).outlineStyle);
            }"""
        )
        assert "solid" in outline, page.evaluate("document.activeElement.outerHTML")[:200]
    page.evaluate("document.activeElement.blur()")
    page.keyboard.press("?")
    page.wait_for_selector("#help-dialog[open]")
    assert page.locator("#keys tr").count() >= 12
    page.uncheck("#shortcuts")
    page.keyboard.press("Escape")
    page.keyboard.press("s")
    page.wait_for_timeout(200)
    assert visitor.step == 0
    page.keyboard.press("?")
    assert page.locator("#help-dialog[open]").count() == 0


def test_everything_ships_in_the_package_and_is_small():
    files = [path for path in STATIC.iterdir() if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 300_000
    for path in files:
        text = path.read_text(encoding="utf-8")
        addresses = set(re.findall(r"https?://[^\s\"'`)<>]+", text)) - {"http://www.w3.org/2000/svg"}
        assert addresses == set(), path.name
    page = (STATIC / "index.html").read_text(encoding="utf-8")
    assert not re.search(r"<script>|<style|\sstyle=|\son\w+=", page)
