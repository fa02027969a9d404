"""Progress bars of tqdm, and a stand-in where none is shown."""

from __future__ import annotations

from typing import Any

from .imports import imported

__all__ = ["progress_bar"]


class NoBar:
    """Stand-in for a progress bar that is not shown."""

    def __enter__(self) -> NoBar:
        return self

    def __exit__(self, *error: object) -> None:
        """Do nothing."""

    def update(self, n: int = 1) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""


def progress_bar(*, total: int, unit: str, shown: bool, **options: Any) -> Any:
    """Return a progress bar: a context manager with the methods `update` and `close`.

    Parameters
    ----------
    total : int
        Number of units of work.
    unit : str
        Name of a unit of work.
    shown : bool
        True shows a bar; False returns an object that does nothing. A disabled bar of tqdm would not do: tqdm
        acquires a lock that forked processes share, and a process killed while it holds the lock would block
        the others forever.
    **options
        Further arguments of ``tqdm.auto.tqdm``.
    """
    if not shown:
        return NoBar()
    return imported("tqdm.auto").tqdm(total=total, unit=unit, **options)
