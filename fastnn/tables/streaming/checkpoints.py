"""Checkpoints of streamed fits: checks of the arguments `checkpoint` and `resume`, and of what was saved."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from ...saving.files import load
from ...system.validation import shown
from ...training.checkpoint import Checkpoint

__all__ = ["check_same_settings", "checked_checkpoint", "loaded_checkpoint", "resumed_path"]

# Largest number of characters of a setting in a message.
MAX_SHOWN = 40


def checked_checkpoint(checkpoint: Any) -> Checkpoint | None:
    """Return the checkpoint for the argument `checkpoint` of a fit: None, a path or a Checkpoint."""
    if checkpoint is None:
        return None
    if not isinstance(checkpoint, Checkpoint):
        if not isinstance(checkpoint, str | os.PathLike):
            raise ValueError(f"checkpoint must be a path or a Checkpoint, got {shown(checkpoint)}")
        checkpoint = Checkpoint(checkpoint)
    if checkpoint.keep_best:
        raise ValueError(
            "Checkpoint(keep_best=True): a checkpoint of a streamed fit holds the best networks anyway, "
            "leave keep_best out"
        )
    return checkpoint


def resumed_path(resume: Any) -> Path | None:
    """Return the file for the argument `resume` of a fit; None to begin anew."""
    if resume is None:
        return None
    if isinstance(resume, Checkpoint):
        path = Path(resume.path)
        return path if path.exists() else None
    if not isinstance(resume, str | os.PathLike):
        raise ValueError(f"resume must be a path or a Checkpoint, got {shown(resume)}")
    if not Path(resume).exists():
        raise FileNotFoundError(
            f"resume: there is no file {resume}: leave resume out to begin a new fit, or pass the Checkpoint "
            "itself, which begins a new fit where there is no file yet"
        )
    return Path(resume)


def loaded_checkpoint(path: Path, kind: type) -> Any:
    """Return the estimator in the checkpoint of a streamed fit of a class of estimators."""
    before = load(path)
    if type(before) is not kind or "_stream" not in before.__dict__:
        raise ValueError(f"resume: {path} holds no checkpoint of a streamed fit of {kind.__name__}")
    return before


def check_same_settings(before: dict[str, Any], now: dict[str, Any]) -> None:
    """Raise ValueError that names the settings in which a fit differs from that of its checkpoint."""
    wrong = []
    for name, value in now.items():
        if before.get(name) != value:
            is_short = isinstance(value, str | int) and " " not in name and len(str(value)) <= MAX_SHOWN
            wrong.append(f"{name} ({before.get(name)} before, {value} now)" if is_short else name)
    if wrong:
        raise ValueError(
            f"resume: these differ from the fit to resume: {', '.join(wrong)}. Pass the same values, "
            "or leave out resume to begin a new fit"
        )
