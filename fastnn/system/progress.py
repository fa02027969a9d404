"""Progress bars of tqdm, and a stand-in where none is shown."""

from __future__ import annotations

import sys
import warnings
from contextlib import AbstractContextManager
from typing import Any


class NoBar(AbstractContextManager["NoBar"]):
    """Stand-in for a progress bar that is not shown."""

    def update(self, *given: object, **options: object) -> None:
        """Do nothing."""

    set_postfix = close = __exit__ = update


def make_progress_bar(*, total: int, unit: str, shown: bool, **options: Any) -> Any:
    """Return a progress bar of tqdm with `options`, or an object that does nothing if it is not `shown`.

    A disabled bar of tqdm would not do: tqdm acquires a lock that forked processes share, and a process
    killed while it holds the lock would block the others forever.
    """
    if not shown or sys.stderr is None:  # a program without a console has no stderr
        return NoBar()
    with warnings.catch_warnings():
        # In a notebook without ipywidgets, which are optional, tqdm shows a bar of text.
        warnings.filterwarnings("ignore", "IProgress not found")
        from tqdm.auto import tqdm

    if sys.platform == "emscripten":
        tqdm.monitor_interval = 0  # no thread can be started to watch slow bars
    return tqdm(total=total, unit=unit, **options)
