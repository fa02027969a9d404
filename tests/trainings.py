"""Trainings driven by hand: trainers of either backend, run in portions."""

import numpy as np

from fastnn.engine.choice import get_backend
from fastnn.engine.job import Job, Memory
from fastnn.network.description import Network
from fastnn.system.generators import generator_state


def first_parameters(network: Network, random: np.random.RandomState, nudge: float = 0.0):
    """Drawn, and changed by about `nudge`, relatively."""
    parameters = network.draw_parameters(random)
    # Shifts are 0 at first, and so is a normalised sum where all samples are alike: there selu has a kink.
    for shift in network.shifts(parameters):
        if shift is not None:
            shift[...] = random.normal(size=shift.shape)
    parameters *= 1 + nudge * random.uniform(-1, 1, parameters.size).astype(network.dtype)
    return parameters


def begin(backend: str, network: Network, job: Job, nudge: float = 0.0):
    """A trainer, and all that it changes; `nudge`: relative change of the parameters it begins with."""
    random = np.random.RandomState(0)
    parameters, statistics = first_parameters(network, random, nudge), network.initial_statistics()
    memory = Memory.fresh(network, parameters, job, generator_state(random))
    trainer = get_backend(backend).trainer(network, parameters, statistics, job, memory)
    running = {
        f"running[{k}]": view for k, view in enumerate(network.running(statistics)) if view is not None
    }
    return trainer, {"parameters": parameters, **vars(memory), **running, **trainer.records._asdict()}


def run_on(trainer, n_passes, rounds_a_call=None):
    while trainer.n_passes < n_passes and not trainer.halted:
        if rounds_a_call:
            trainer._rounds_a_call = rounds_a_call
        assert trainer.run(n_passes)
