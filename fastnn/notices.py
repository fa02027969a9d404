"""Warnings that name the user's line."""

from __future__ import annotations

import sys
import warnings

__all__ = ["warn"]

# Modules in which scikit-learn wraps an estimator's methods.
WRAPPERS = ("sklearn.base", "sklearn.callback._callback_support")


def warn(message: str, category: type[Warning] = UserWarning) -> None:
    """Warn at the line that called fastnn, however many calls below it this is.

    Parameters
    ----------
    message : str
    category : type of Warning, default UserWarning
    """
    level, frame = 1, sys._getframe()
    while frame.f_back is not None:
        module = frame.f_globals.get("__name__", "")
        if module.partition(".")[0] != __package__ and module not in WRAPPERS:
            break
        frame, level = frame.f_back, level + 1
    warnings.warn(message, category, stacklevel=level)
