"""Backend of the NumPy reference: predictions, losses, gradients and trainers."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from types import SimpleNamespace
from typing import ClassVar

import numpy as np

from ..network.description import Array, Network
from ..reference import predict, train
from ..system.validation import all_finite
from . import limits
from .arrays import make_dense, shape_targets
from .checks import find_non_finite, warn_of_overflow
from .job import Job, MatrixLike, Memory
from .levenberg_marquardt import LevenbergMarquardtTrainer
from .numpy_lbfgs import NumpyLBFGSTrainer
from .numpy_passes import NumpyPasses, NumpyUpdate
from .protocol import Backend, StepTrainer

# Kernels do not report infinities; results are checked afterwards. Silence NumPy's warnings to do the same.
_quiet = np.errstate(all="ignore")


class NumpyTrainer(StepTrainer):
    """Trainer on the NumPy reference."""

    def __init__(
        self, network: Network, parameters: Array, statistics: Array, job: Job, memory: Memory
    ) -> None:
        job = replace(job, X=make_dense(job.X)) if job.is_sparse else job
        super().__init__(network, parameters, statistics, job, memory)
        # The arrays that steps update, by the names that they have in the kernels' `State` and in the memory.
        order = memory.order if job.is_gathered else np.arange(job.n_samples, dtype=np.int64)
        progress = np.array([job.steps_done], np.int64)
        self.gradient = np.zeros_like(parameters)  # of the last step's batch
        arrays = {"parameters": parameters, "statistics": statistics, "order": order, "progress": progress}
        arrays["gradient"] = self.gradient
        self._state = SimpleNamespace(**vars(memory) | arrays)

    @property
    def n_steps(self) -> int:
        return int(self._state.progress[0])

    @_quiet
    def run(self, last_pass: int, last_step: int | None = None) -> bool:
        last_step = self._job.last_step(last_pass, last_step)
        finished = time.perf_counter() + limits.CALL_SECONDS
        changing = [*vars(self._state).values(), *self.records]
        while self._state.progress[0] < last_step and time.perf_counter() < finished and not self.halted:
            before = [array.copy() for array in changing]
            self.non_finite = "a parameter"
            try:
                if train.train_step(self._network, self._state, self._job, self.records):
                    self.non_finite = find_non_finite(
                        self._state.parameters, self._state.statistics, self.memory
                    )
            finally:
                if self.non_finite:  # the training diverged, or was interrupted
                    for array, saved in zip(changing, before, strict=True):
                        array[...] = saved
            if self.non_finite:
                return False
        return True


class NumpyBackend(Backend):
    """Backend of the NumPy reference."""

    trainer, passes, update = NumpyTrainer, NumpyPasses, NumpyUpdate
    minimisers: ClassVar = {
        "lbfgs": NumpyLBFGSTrainer,
        "levenberg_marquardt": partial(LevenbergMarquardtTrainer, NumpyPasses),
    }

    def outputs(
        self,
        network: Network,
        parameters: Array,
        X: MatrixLike,
        name: str | None,
        n_threads: int = 0,
        warns: bool = True,
    ) -> Array:
        arguments = *_get_lists(network, parameters), make_dense(X)
        if name is None:
            if warns:
                self.outputs(network, parameters, X, "identity")
            classes = _quiet(predict.predict)(*arguments)
            return classes.astype(np.int64, copy=False)  # NumPy counts in 32 bits where addresses have 32
        P = _quiet(predict.outputs)(*arguments, name)
        if warns and not all_finite(P):
            warn_of_overflow(network, parameters, P)
        return P

    def bind(
        self, network: Network, X: MatrixLike, name: str | None, n_threads: int = 0
    ) -> tuple[Callable[[Array], object], Array]:
        n, k = X.shape[0], network.n_outputs
        result = np.empty(n, np.int64) if name is None else np.empty((n, k), network.dtype)

        def run(parameters: Array) -> bool:
            result[...] = self.outputs(network, parameters, X, name)
            return True  # `run` itself has warned

        return run, result

    def loss(
        self, network: Network, X: MatrixLike, y: Array, weights: Array, n_threads: int = 0
    ) -> Callable[[Array], float]:
        X, y, weights = make_dense(X), shape_targets(network, y), weights.astype(network.dtype)
        loss = network.loss

        @_quiet
        def compute(parameters: Array) -> float:
            lists = _get_lists(network, parameters)
            return predict.loss(*lists, X, loss.formulas, y, weights, loss.parameter)

        return compute


def _get_lists(network: Network, parameters: Array) -> tuple[tuple[str, ...], list[Array], list[Array]]:
    return network.activations, network.weights(parameters), network.biases(parameters)
