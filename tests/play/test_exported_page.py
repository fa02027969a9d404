"""The exported playground in Chromium: a journey through a page that trains in a Worker, without a server.

The environment names what it needs: FASTNN_PYODIDE a folder of Pyodide with a wheel of NumPy, and
FASTNN_WHEEL the wheel of fastnn for browsers.
"""

import functools
import hashlib
import http.server
import json
import os
import re
import shutil
import threading
import zipfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from playing import train_alone
from processes import CHROMIUM
from site_extensions import extension
from sklearn.datasets import make_moons
from visitors import ARGUMENTS, NEEDS_CHROMIUM, Visitor, expect

import fastnn

PYODIDE, WHEEL = (os.environ.get(name) for name in ("FASTNN_PYODIDE", "FASTNN_WHEEL"))
pytestmark = [
    *NEEDS_CHROMIUM,
    pytest.mark.skipif(not (PYODIDE and WHEEL), reason="FASTNN_PYODIDE and FASTNN_WHEEL name no files"),
]
# Stand-in for safetensors, whose wheel for Pyodide is compiled.
SAFETENSORS = Path(__file__).parents[1] / "browser" / "standins" / "safetensors"


def copy_pyodide(folder):
    """Copy Pyodide, with the wheels of NumPy and of a stand-in for safetensors."""
    folder.mkdir()
    for name in ("pyodide.mjs", "pyodide.asm.mjs", "pyodide.asm.wasm", "python_stdlib.zip"):
        shutil.copyfile(Path(PYODIDE) / name, folder / name)
    (numpy,) = Path(PYODIDE).glob("numpy-*.whl")
    shutil.copyfile(numpy, folder / numpy.name)
    safetensors = folder / "safetensors-0.7.0-py3-none-any.whl"
    with zipfile.ZipFile(safetensors, "w") as file:
        for path in SAFETENSORS.glob("*.py"):
            file.write(path, f"safetensors/{path.name}")
        file.writestr("safetensors-0.7.0.dist-info/METADATA", "Name: safetensors\nVersion: 0.7.0\n")
        file.writestr("safetensors-0.7.0.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
    lock = json.loads((Path(PYODIDE) / "pyodide-lock.json").read_text())
    for name, wheel in (("numpy", folder / numpy.name), ("safetensors", safetensors)):
        digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
        lock["packages"][name] |= {"file_name": wheel.name, "sha256": digest}
    (folder / "pyodide-lock.json").write_text(json.dumps(lock))


class Handler(http.server.SimpleHTTPRequestHandler):
    max_age = 0

    def end_headers(self):
        self.send_header("Cache-Control", f"max-age={self.max_age}")
        super().end_headers()


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """Serve the playground's folder of the site; `close` ends the server."""
    folder = tmp_path_factory.mktemp("site")
    extension("playground").write_pages(folder / "play", Path(WHEEL), "pyodide/")
    copy_pyodide(folder / "play" / "pyodide")
    handler = functools.partial(Handler, directory=folder)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.handle_error = lambda *_: None  # a page that closes has requests under way
    thread = threading.Thread(target=server.serve_forever)
    thread.start()

    def close():
        server.shutdown()
        server.server_close()
        thread.join()

    address = f"http://127.0.0.1:{server.server_port}/play/"
    yield SimpleNamespace(address=address, folder=folder / "play", close=close)
    close()


OLD = f'data-version="{fastnn.__version__}"'
# What a browser lacks, or a changed part of the page, and what the page says.
OBSTACLES = {
    "no Workers": ("delete globalThis.Worker", "", "", "lacks Workers, or WebAssembly with SIMD"),
    "no WebAssembly": ("delete globalThis.WebAssembly", "", "", "This browser lacks Workers, or WebAssembly"),
    "no Pyodide": ("", "pyodide/", "nowhere/", "The Worker that trains is lost: "),
    "versions": ("", OLD, 'data-version="99.1"', "is of fastnn 99.1, but its wheel of fastnn 0"),
}


@pytest.mark.parametrize("obstacle", OBSTACLES)
def test_what_keeps_the_page_from_training_is_said(obstacle, visitors, site):
    program, old, new, message = OBSTACLES[obstacle]
    visitor = visitors()
    page = visitor.page
    page.add_init_script(program)
    text = (site.folder / "index.html").read_text().replace(old, new)
    page.route(site.address, lambda route: route.fulfill(body=text, content_type="text/html"))
    page.goto(site.address)
    expect(page.locator("#lost")).to_contain_text(message)
    expect(page.locator("#reconnect")).to_have_text("Start again")
    visitor.errors = [error for error in visitor.errors if "404" not in error]


def test_a_figure_of_the_site_trains_with_the_modules_of_the_page(visitors, site):
    page = visitors().page
    show_the_valley(page, site)
    expect(page.locator("#result")).to_contain_text(re.compile(r"Step \d\d?: w₁ = .?\d\.\d"))
    check_accessibility(page, ["light"])
    page.locator("#rate").fill("0.1")
    expect(page.locator("#result")).to_contain_text(re.compile(r"Step \d\d: w₁ = .?\d\d"))  # it diverges


def test_the_line_of_the_first_chapter_is_turned_by_hand(visitors, site):
    page, (X, y) = visitors().page, make_moons(200, noise=0.20, random_state=0)

    def expect_line(w, b):
        margins = (X @ w + b) * (2 * y - 1)
        loss = np.log1p(np.exp(-margins)).mean()
        expect(page.locator("#result")).to_contain_text(
            f": {(margins > 0).mean():.0%} correct, loss {loss:.4f}"
        )

    page.goto(f"{site.address}line.html")
    expect_line([1, 0], -0.5)  # with which the chapter begins
    check_accessibility(page, ["light"])
    page.focus("#plane")
    page.keyboard.press("Shift+ArrowDown")
    expect_line([1, -0.2], -0.45)
    plane = page.locator("#plane").bounding_box()
    for place in ((1.5, 0.0), (1.0, -1.5)):  # the line is drawn upright through one, and the tip there
        page.mouse.move(*(page.locator("#tip").bounding_box()[axis] + 8 for axis in "xy"))
        page.mouse.down()
        unit = plane["width"] / 5
        page.mouse.move(plane["x"] + unit * (place[0] + 2), plane["y"] + unit * (2 - place[1]))
        page.mouse.up()
    w = 4 * np.array([1.0 - 0.5, -1.5 - 0.25])
    expect_line(w, -w @ [0.5, 0.25])
    page.keyboard.press("ArrowRight")
    expect_line(w, -w @ [0.55, 0.25])


def test_webassembly_comes_from_the_browsers_own_cache(browser, site, tmp_path, monkeypatch):
    """The browser keeps machine code there. The service worker's copy is for when that cache lacks it."""
    monkeypatch.setattr(Handler, "max_age", 600)
    # The cache of a context without a profile is in memory, too small for this file.
    options = {"executable_path": CHROMIUM, "args": ARGUMENTS}
    with browser.browser_type.launch_persistent_context(tmp_path / "profile", **options) as context:
        visitor = Visitor(context.new_page()).visit(site)
        visitor.wait("""async () => {
            for (const name of await caches.keys()) {
                const cache = await caches.open(name);
                const kept = (await cache.keys()).find(({ url }) => url.endsWith(".wasm"));
                if (kept) return (await cache.put(kept, new Response("no WebAssembly"))) === undefined;
            }
        }""")
        monkeypatch.setattr(Handler, "do_GET", lambda self: None)
        visitor.page.reload()
        visitor.wait_for_frame()
        assert visitor.errors == []


def test_a_journey_without_a_server(visitors, site, tmp_path):
    visitor = visitors().visit(site, "layers=4&n_samples=60&speed=13")
    page = visitor.page
    expect(page.locator("#loading")).to_be_hidden()
    train(visitor)
    check_accessibility(page)
    save(visitor, tmp_path)
    open_tables(visitor, tmp_path)
    replace_a_lost_worker(visitor)
    fetch_a_new_version(visitor, site)
    show_a_figure(visitor, site)
    show_the_valley(page, site)  # another page of the folder is not the playground
    page.goto(site.address)
    # Whatever was fetched is kept: the page opens, trains and saves when the server is gone.
    page.wait_for_timeout(1000)
    site.close()
    show_the_valley(page, site)
    page.goto(f"{site.address}index.html?from=valley#dataset=spiral&layers=5")
    visitor.wait_for_frame()
    assert visitor.widths == [2, 5, 2]
    visitor.press("Space")
    visitor.wait_for_step(100)
    assert visitor.percent("#score-train") > 50
    # Chromium logs what the distribution in this test lacks.
    visitor.errors = [error for error in visitor.errors if "404" not in error]


def show_the_valley(page, site):
    page.goto(f"{site.address}valley.html")
    expect(page.locator("#result")).to_contain_text(re.compile(r"Step \d"))


def train(visitor):
    page = visitor.page
    assert (visitor.step, visitor.widths) == (0, [2, 4, 2])
    visitor.press("Space")
    visitor.wait_for_step(1000)
    visitor.press("Space")
    visitor.rest()
    assert visitor.percent("#score-train") > 90
    visitor.press("p")
    page.wait_for_selector("#script-dialog[open]")
    assert "model.train(" in page.inner_text("#script-text")
    page.keyboard.press("Escape")
    page.click("#help")
    expect(page.locator("#help-dialog")).to_contain_text("whoever opens it sees the same run")
    assert "token" not in page.inner_text("#help-dialog")
    page.keyboard.press("Escape")


def check_accessibility(page, schemes=("dark", "light")):
    """Let axe-core, which npm installs beside Pyodide, look at the page in both themes."""
    page.evaluate((Path(PYODIDE).parent / "axe-core" / "axe.min.js").read_text())
    for scheme in schemes:
        page.emulate_media(color_scheme=scheme)
        expect(page.locator("html")).to_have_attribute("data-theme", scheme)
        violations = "(await axe.run()).violations.map(({ id, nodes }) => [id, nodes[0].html])"
        assert page.evaluate(f"async () => {violations}") == []


def save(visitor, folder):
    page = visitor.page
    visitor.go_to("layers=3&optimizer=adam&n_samples=60")
    for step in range(1, 4):
        page.click("#step")
        visitor.wait_for_step(step)
    page.click("#save")
    with page.expect_download() as download:
        page.click("[data-save=model]")
    download.value.save_as(folder / "model.fastnn")
    model = fastnn.load(folder / "model.fastnn")
    expected = train_alone({"layers": [3], "optimizer": "adam", "n_samples": 60}, 3)
    for ours, theirs in zip(model.W, expected.W, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-9)
    page.click("#save")
    page.click("[data-save=picture]")
    expect(page.locator("#problems")).to_contain_text("needs matplotlib, which cannot be loaded here")


def open_tables(visitor, folder):
    page, random = visitor.page, np.random.RandomState(0)
    X = random.randn(50, 2)
    rows = [f"{a:.3f};{b:.3f};{'high' if a > b else 'low'}" for a, b in X]
    tables = {"own.csv": "\n".join(["a;b;level", *rows]), "wrong.csv": "a,b\n1,2\n"}
    for name, text in tables.items():
        (folder / name).write_text(text)
    visitor.change(lambda: page.set_input_files("#table-file", folder / "own.csv"))
    assert page.locator("#classes-legend").inner_text().split() == ["high", "low"]
    assert (visitor.state["dataset"], visitor.n_points) == ("table", 50)
    page.set_input_files("#table-file", folder / "wrong.csv")
    expect(page.locator("#problems")).to_contain_text(
        "wrong.csv: the playground needs two columns of numbers"
    )
    assert page.input_value("#table-target") == "level"
    page.select_option("#table-target", "a")
    expect(page.locator("#problems")).to_contain_text("own.csv: the playground needs two columns of numbers")
    expect(page.locator("#table-target")).to_have_value("level")


def replace_a_lost_worker(visitor):
    page = visitor.page
    visitor.go_to("dataset=xor&layers=6&seed=3")
    assert "token" not in page.url
    worker = page.workers[0]
    worker.evaluate("() => { setTimeout(() => { throw new RangeError('out of memory'); }); }")
    expect(page.locator("#lost")).to_contain_text("The Worker that trains is lost: Uncaught RangeError: out")
    visitor.change(lambda: (page.click("#reconnect"), visitor.press("v", "s")))  # which come too early
    assert page.is_hidden("#lost")
    assert (visitor.widths, visitor.state["seed"]) == ([2, 6, 2], "3")
    visitor.press("s")
    visitor.wait_for_step(1)


def fetch_a_new_version(visitor, site):
    """A new export waits until no page of the old one is open; its files then replace the old ones."""
    page, worker = visitor.page, site.folder / "service-worker.js"
    until = "async () => {{ while (!({})) await new Promise((done) => setTimeout(done, 50)); }}"
    worker.write_text(re.sub(r'DIGEST = "\w+"', 'DIGEST = "new"', worker.read_text()))
    page.evaluate("async () => { await (await navigator.serviceWorker.ready).update(); }")
    page.evaluate(until.format("(await navigator.serviceWorker.ready).waiting"))
    assert len(page.evaluate("() => caches.keys()")) == 2
    page.goto(site.address.removesuffix("play/"))  # a page that the service worker leaves alone
    page.evaluate(until.format("(await caches.keys()).length === 1"))
    assert page.evaluate("() => caches.keys()")[0].endswith(": new")


def show_a_figure(visitor, site):
    """Within a page of another kind, the playground is a figure of the network and its picture."""
    frame = f"<iframe src='{site.address}#layers=2' width=700 height=600></iframe>"
    visitor.page.evaluate("(frame) => { document.body.innerHTML = frame; }", frame)
    figure = visitor.page.frame_locator("iframe")
    expect(figure.locator("#boundary[data-drawn]")).to_be_visible()
    expect(figure.locator("#network")).to_be_visible()
    expect(figure.locator("#formula")).to_be_hidden()
    visitor.page.goto(site.address)
    visitor.wait_for_frame()
