"""Saved tabular estimators, for the subcommands that predict."""

from __future__ import annotations

from pathlib import Path
from typing import Any

__all__ = ["loaded_model"]


def loaded_model(path: Path) -> Any:
    """Return the tabular estimator in a file.

    Raises
    ------
    ValueError
        If the file holds no fitted TabularClassifier or TabularRegressor.
    OSError
        If the file does not exist or cannot be read.
    """
    import fastnn

    model = fastnn.load(path)
    if not isinstance(model, fastnn.TabularClassifier | fastnn.TabularRegressor):
        raise ValueError(
            f"the {type(model).__name__} in {path} knows no columns: 'fastnn train' writes models for tables"
        )
    if not hasattr(model, "estimators_"):
        raise ValueError(f"the {type(model).__name__} in {path} is not fitted")
    return model
