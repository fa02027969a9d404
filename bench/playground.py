"""Measure the playground: speed with and without a page, frames per second, time to the first frame.

    python bench/playground.py                      # a page in headless Chromium, by Playwright
    python bench/playground.py --page client        # a program that reads frames and draws nothing
    python bench/playground.py --seconds 10

The page in Chromium draws everything that users see. Chromium is the system's, found on the PATH.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlencode

from websockets.sync.client import connect

import fastnn
import fastnn.play.app
from fastnn.play.learning_problem import make_problem
from fastnn.play.session import Session
from fastnn.play.settings import Settings

MOONS = {"test_share": 0}
DEEP = {"test_share": 0, "layers": [8, 8], "activations": ["tanh", "tanh"]}
LARGE = {
    "dataset": "blobs",
    "classes": 5,
    "n_samples": 2000,
    "layers": [128, 128, 128],
    "activations": ["relu", "relu", "relu"],
    "init": "he_normal",
    "optimizer": "adam",
    "reduction": "mean",
    "learning_rate": 0.001,
}
BROWSERS = "chromium-headless-shell", "chromium", "chromium-browser", "google-chrome"
# The last stop of the page's slider.
FASTEST = 13
TOKEN = "a-token-of-the-benchmark"
N_STARTS = 20


class WatchedSession(Session):
    """A session that counts the frames that its page has drawn."""

    latest: WatchedSession | None = None

    def __init__(self, *arguments: object) -> None:
        super().__init__(*arguments)
        self.n_drawn = 0
        WatchedSession.latest = self

    def handle(self, message: dict) -> None:
        """Count a frame, or act on another message."""
        self.n_drawn += message.get("type") == "drawn"
        super().handle(message)


CLIENT = """
import json, sys
from websockets.sync.client import connect

address, state = sys.argv[1], json.loads(sys.argv[2])
base, _, token = address.partition("/?token=")
with connect(f"{base.replace('http', 'ws')}/training?token={token}", origin=base, compression=None,
             max_size=None) as socket:
    socket.send(json.dumps({"type": "start", "run": 1, "state": state}))
    socket.send(json.dumps({"type": "play"}))
    for message in socket:
        if isinstance(message, bytes):
            length = int.from_bytes(message[:4], "little")
            header = json.loads(message[4 : 4 + length])
            socket.send(json.dumps({"type": "drawn", "frame": header["frame"], "run": header["run"]}))
"""


@contextmanager
def client(address: str, state: dict) -> Iterator[None]:
    """Run a program that receives frames and draws nothing, in a process of its own."""
    process = subprocess.Popen([sys.executable, "-c", CLIENT, address, json.dumps(state)])
    try:
        yield
    finally:
        process.kill()
        process.wait()


@contextmanager
def chromium(address: str, state: dict) -> Iterator[None]:
    """Open the page in headless Chromium, and press play."""
    from playwright.sync_api import sync_playwright

    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    fields = {
        key: ",".join(map(str, value)) if isinstance(value, list) else value
        for key, value in {**state, "speed": FASTEST}.items()
    }
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        try:
            page = browser.new_page(viewport={"width": 1400, "height": 900})
            page.goto(f"{address}#{urlencode(fields)}")
            page.wait_for_selector("#boundary[data-drawn]")
            page.keyboard.press("Space")
            yield
        finally:
            browser.close()


PAGES = {"chromium": chromium, "client": client}


def without_page(state: dict, seconds: float) -> float:
    """Return the epochs per second of `Model.train`, the fastest of the runs within some seconds."""
    problem, model = make_problem(Settings.of_state(state))
    arguments = problem.train_arguments
    model.train(*problem.training_data, 2000, **arguments)
    best, n_passes = 0.0, 20_000
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        began = time.perf_counter()
        model.train(*problem.training_data, n_passes, **arguments)
        best = max(best, n_passes / (time.perf_counter() - began))
    return best


def with_page(page: str, state: dict, seconds: float) -> tuple[float, float]:
    """Return the epochs and the frames per second while a page shows the training."""
    WatchedSession.latest = None
    served = fastnn.playground(browser=False, block=False, token=TOKEN)
    with served as running, PAGES[page](running.address, state):
        while WatchedSession.latest is None or WatchedSession.latest.n_drawn < 30:
            time.sleep(0.05)
        session = WatchedSession.latest
        began, passes, frames = time.perf_counter(), session.run.latest.epoch, session.n_drawn
        time.sleep(seconds)
        lasted = time.perf_counter() - began
        return (session.run.latest.epoch - passes) / lasted, (session.n_drawn - frames) / lasted


def first_frames() -> list[float]:
    """Return the milliseconds from a message `start` to its first frame, over the websocket."""
    times = []
    with fastnn.playground(browser=False, block=False, token=TOKEN) as running:
        base = running.address.partition("/?")[0]
        url = f"{base.replace('http', 'ws')}/training?token={TOKEN}"
        with connect(url, origin=base, compression=None, max_size=None) as socket:
            socket.recv()
            for run in range(N_STARTS + 1):
                state = {**DEEP, "seed": run}
                began = time.perf_counter()
                socket.send(json.dumps({"type": "start", "run": run, "state": state}))
                while isinstance(socket.recv(), str):
                    pass
                times.append(1000 * (time.perf_counter() - began))
                socket.send(json.dumps({"type": "play"}))  # the next start replaces a running training
                time.sleep(0.1)
                drain(socket)
    return times[1:]


def drain(socket: object) -> None:
    """Receive messages until none arrives for 50 ms."""
    try:
        while True:
            socket.recv(timeout=0.05)
    except TimeoutError:
        pass


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description="Measure the playground.")
    parser.add_argument("--page", choices=list(PAGES), default="chromium")
    parser.add_argument("--seconds", type=float, default=5.0)
    options = parser.parse_args()
    fastnn.play.app.Session = WatchedSession
    print("| what | figure |\n| --- | --- |")
    alone = without_page(MOONS, options.seconds)
    print(f"| moons, [2, 3, 2]: epochs per second without a page | {alone:,.0f} |", flush=True)
    passes, frames = with_page(options.page, MOONS, options.seconds)
    print(f"| moons: epochs per second with a page ({options.page}) | {passes:,.0f}, {passes / alone:.0%} |")
    print(f"| moons: frames per second | {frames:.1f} |", flush=True)
    alone = without_page(DEEP, options.seconds)
    passes, frames = with_page(options.page, DEEP, options.seconds)
    what = "[2, 8, 8, 2], boundary of 256 x 256 and all units"
    print(f"| {what}: frames per second | {frames:.1f} |")
    print(f"| {what}: epochs per second | {passes:,.0f}, {passes / alone:.0%} of {alone:,.0f} |", flush=True)
    passes, frames = with_page(options.page, LARGE, options.seconds)
    print(f"| [2, 128, 128, 128, 5], 2,000 samples: frames per second | {frames:.1f} |")
    print(f"| [2, 128, 128, 128, 5]: epochs per second | {passes:,.0f} |", flush=True)
    times = first_frames()
    print(
        f"| start to first frame, ms: median and longest of {len(times)} | "
        f"{statistics.median(times):.1f}, {max(times):.1f} |"
    )


if __name__ == "__main__":
    main()
