"""Progress bars: tqdm's where one is asked for, and otherwise nothing at all."""

from __future__ import annotations

from typing import Any

__all__ = ["progress_bar"]


class NoBar:
    """Stand-in for a progress bar that nobody sees."""

    def __enter__(self) -> NoBar:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def update(self, n: int = 1) -> None:
        """Count nothing."""

    def close(self) -> None:
        """Close nothing."""


def progress_bar(*, total: int, unit: str, shown: bool, **options: Any) -> Any:
    """Return a progress bar, a context manager with the methods `update` and `close`.

    Parameters
    ----------
    total : int
        Number of units in the whole work.
    unit : str
        Name of a unit.
    shown : bool
        False returns an object that does nothing. A disabled bar of tqdm is no substitute: tqdm takes
        a lock that forked processes share, and a process killed while it holds the lock blocks
        every other one for ever.
    **options
        Further arguments of ``tqdm.auto.tqdm``.
    """
    if not shown:
        return NoBar()
    from tqdm.auto import tqdm

    return tqdm(total=total, unit=unit, **options)
