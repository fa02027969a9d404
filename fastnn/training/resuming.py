"""Where a training of a `Model` begins: at the model's parameters, or where an earlier training ended."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..engine.job import Job
from ..saving.files import load
from ..system.files import check_file_name
from ..system.generators import TwisterState, draw_seed, make_random, resolve_random_state
from ..system.validation import Array, all_finite, short_repr
from .checkpoint import Checkpoint
from .options import TrainOptions
from .state import TrainingState

if TYPE_CHECKING:
    from ..model import Model


class StartPoint(NamedTuple):
    """Start of a training: its job, and the arrays before the first step."""

    job: Job  # of the whole training, with the seed and the number of steps that are done
    generator: NDArray[np.uint32] | None  # Mersenne Twister of the orders; None if `resumed` has it
    resumed: TrainingState | None  # None for a new training
    parameters: Array
    statistics: Array


def find_start(model: Model, job: Job, options: TrainOptions) -> StartPoint:
    """Return the start of a training with the options `random_state`, `rng` and `resume`.

    A training that cannot be resumed is a ValueError, and so are parameters that hold NaN or infinity.
    """
    # A user's schedule may return invalid factors: refuse such a schedule before anything changes.
    job.rates(np.zeros(1, np.int64))
    found = _find_resumed(model, options.resume)
    random = resolve_random_state(options.random_state, options.rng)
    given = options.random_state if options.rng is None else options.rng
    is_seeded = given is not None and not isinstance(given, np.random.RandomState | np.random.Generator)
    generator = None
    if (job.shuffled or model._network.dropout) and (found is None or is_seeded):
        job = replace(job, seed=draw_seed(random))
        generator = TwisterState(make_random([job.seed >> 32, job.seed % 2**32])).read()
    model._make_writeable()
    state, parameters, statistics = None, model._parameters, model._statistics
    if found is not None:
        state, source = found
        job = state.resume(job, is_seeded)
        parameters, statistics = state.last or (source._parameters, source._statistics)
    if not all_finite(parameters):
        raise ValueError("W or b holds NaN or infinity: set finite values before training")
    if not all_finite(statistics):
        raise ValueError("batch_norm holds NaN or infinity: set finite values before training")
    return StartPoint(job, generator, state, parameters, statistics)


@contextmanager
def use_start(model: Model, start: StartPoint) -> Iterator[None]:
    """Set parameters and statistics; restore the earlier ones if an error comes before the training."""
    if start.parameters is model._parameters:
        yield
        return
    before, history = (model._parameters.copy(), model._statistics.copy()), model.history_
    model._parameters[...], model._statistics[...] = start.parameters, start.statistics
    try:
        yield
    except BaseException:
        if model.history_ is history:  # every training that has begun leaves a history of its own
            model._parameters[...], model._statistics[...] = before
        raise


def _find_resumed(
    model: Model, resume: bool | str | os.PathLike[str] | Checkpoint | None
) -> tuple[TrainingState, Model] | None:
    """Return the training state to resume, and the model that has it; None for a new training."""
    if resume is None or resume is False:
        return None
    source: Any = model
    if resume is not True:
        if isinstance(resume, Checkpoint):
            resume = resume.path
            if not Path(resume).exists():
                return None
        elif not isinstance(resume, str | os.PathLike):
            raise ValueError(
                f"resume must be True, the name of a file or a Checkpoint, got {short_repr(resume)}"
            )
        path = check_file_name(resume, "resume")
        if not path.exists():
            raise FileNotFoundError(
                f"resume: there is no file {path}: leave resume out to begin a new training, or pass the "
                "Checkpoint itself, which begins a new training where there is no file yet"
            )
        try:
            source = load(path, [type(model.loss)])
        except ValueError as error:
            raise ValueError(f"resume: {error}") from error
        _check_same(source, model, path)
    state = source._training
    if state is None:
        what = "this model" if source is model else f"the model in {resume}"
        raise ValueError(
            f"resume: {what} has no training to resume: it has not been trained, or it was saved with "
            "training=False. Leave resume out to begin a new training from the present parameters"
        )
    if state.last is not None:
        # The model predicts with the best or the average parameters, but the steps continue from `last`.
        best = state.best
        predicting = best.parameters if best is not None else state.memory.average
        if not np.array_equal(predicting, source._parameters):
            raise ValueError(
                "resume: the parameters have been changed since the training, which would not continue from "
                "the new ones: leave resume out to begin a new training from the present parameters"
            )
    return state, source


def _check_same(other: Any, model: Model, path: Path) -> None:
    """Raise ValueError unless `other`, which a file holds, has the model's class, network and backend."""
    if not isinstance(model, type(other)):
        raise ValueError(f"resume: the {type(other).__name__} in {path} is not a Model")
    pairs = [
        (name, getattr(other._network, name), getattr(model._network, name))
        for name in ("layers_dim", "activations", "dtype", "loss", "batch_norm", "dropout")
    ]
    pairs.append(("backend", other.backend, model.backend))
    wrong = [f"{name} is {theirs} in the file, {ours} here" for name, theirs, ours in pairs if theirs != ours]
    if wrong:
        raise ValueError(f"resume: {path} holds a different network: {'; '.join(wrong)}")
