"""Trainings driven step by step: trainers of either backend, run in portions."""

import numpy as np

from fastnn.engine import get_backend
from fastnn.engine.compiled_trainer import NumbaTrainer
from fastnn.engine.job import Job, Memory
from fastnn.network.description import Network
from fastnn.system.generators import TwisterState
from fastnn.training.options import NOT_FOR_MINIMISERS

# Options of a step that only some trainings use, each with a value that changes the step.
STEP_OPTIONS = {"l1": 1e-3, "max_norm": 0.8, "clip_norm": 0.3, "ema_decay": 0.9}
assert {"schedule", *STEP_OPTIONS} == {*NOT_FOR_MINIMISERS}, "add the option to STEP_OPTIONS"


def first_parameters(network: Network, random: np.random.RandomState, nudge: float = 0.0):
    """Return drawn parameters, each changed by a random relative amount of up to `nudge`."""
    parameters = network.draw_parameters(random)
    # Shifts begin at 0, and a normalised sum is 0 where all samples are alike. selu has a kink there: draw
    # the shifts.
    for shift in network.shifts(parameters):
        if shift is not None:
            shift[...] = random.normal(size=shift.shape)
    parameters *= 1 + nudge * random.uniform(-1, 1, parameters.size).astype(network.dtype)
    return parameters


def begin(backend: str, network: Network, job: Job, nudge: float = 0.0):
    """Return a trainer and a dict of all arrays that it changes.

    `nudge` is the largest relative change of the drawn parameters.
    """
    random = np.random.RandomState(0)
    parameters, statistics = first_parameters(network, random, nudge), network.make_statistics()
    memory = Memory.fresh(network, parameters, job, TwisterState(random).read())
    trainer = get_backend(backend).trainer(network, parameters, statistics, job, memory)
    running = {f"running[{k}]": one for k, one in enumerate(network.running(statistics)) if one is not None}
    return trainer, {"parameters": parameters, **vars(memory), **running, **trainer.records._asdict()}


def run_on(trainer, n_passes, steps_per_call=None):
    """Run a trainer up to `n_passes`; a compiled one runs `steps_per_call` steps in each call, if given."""
    while trainer.n_passes < n_passes and not trainer.halted:
        if steps_per_call and isinstance(trainer, NumbaTrainer):
            trainer._calls.n_steps = steps_per_call
        assert trainer.run(n_passes)
