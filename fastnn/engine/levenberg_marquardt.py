"""Trainer by Levenberg-Marquardt, on the passes of either backend.

The error is ``E = sum w |r|^2 / 2`` for the residuals r of a sample with weight w. An iteration solves
``(H + penalty + damping) step = g`` by Cholesky's factors. ``H = sum w J'J`` and ``g = sum w J'r``, and the
derivatives of the penalty, which g includes, are added up tile by tile, so that J is never stored whole.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import replace

import numpy as np

from ..network.description import Array, Network, allocate_zeros
from ..optimizers import LevenbergMarquardt
from ..reference.lbfgs import CONVERGED_GRADIENT, CONVERGED_VALUE, MAX_ITERATIONS, RUNNING
from ..system.memory import check_memory
from .arrays import make_dense
from .checks import find_non_finite
from .job import Job
from .minimisation import ENDINGS, Ending, MinimiserMemory, check_parameters
from .protocol import MinimisingTrainer, Passes

# Samples whose units are held at once; between two blocks, a call may end.
BLOCK_ROWS = 1024
# The minimisation ends if no damping up to this multiple of H's largest element lowers the objective.
MAX_DAMPING, MIN_DAMPING = 1e10, 1e-20
# The penalty that evidence chooses begins at this fraction of the error, and grows by at most this factor in
# an iteration: before the network fits anything, the evidence is for no weights at all.
FIRST_PENALTY, MAX_GROWTH = 0.01, 2.0
EPS = np.finfo(np.float64).eps


class LevenbergMarquardtTrainer(MinimisingTrainer):
    """Trainer of a job whose optimizer is `LevenbergMarquardt`, in float64 whatever the network's dtype."""

    def __init__(
        self,
        passes: type[Passes],
        network: Network,
        parameters: Array,
        statistics: Array,
        job: Job,
        memory: MinimiserMemory | None,
    ) -> None:
        from scipy.linalg import blas, lapack  # takes a tenth of a second

        super().__init__(network, parameters, statistics, job)
        assert isinstance(job.optimizer, LevenbergMarquardt)
        self._syrk, self._lapack, self._optimizer = blas.dsyrk, lapack, job.optimizer
        self._wide = wide = replace(network, dtype=np.dtype(np.float64))
        size = wide.n_parameters
        n_bytes = (3 * size + BLOCK_ROWS) * size * 8
        check_memory(n_bytes, f"'levenberg_marquardt' with {size} parameters takes", "choose 'lbfgs'")
        self._passes = passes(wide, allocate_zeros(size, np.float64), wide.make_statistics())
        self._H = np.zeros((size, size), order="F")  # its upper triangle
        self._diagonal = np.einsum("ii->i", self._H)
        self._g = np.zeros(size)
        self._is_penalised = (np.arange(size) < wide.n_weights) | self._optimizer.bayesian
        # The last iterate, with the damping of the next one and the penalty's strength, in units of E.
        self._x = wide.convert_parameters(network, parameters)
        self._damping = self._optimizer.damping
        self._decay = job.reg_lambda / (1.0 if job.of_objective else job.weight_scale)
        self._status, self._has_begun = RUNNING, memory is not None
        if memory is not None:
            self._restore(memory)
        self._work = self._minimise()

    # --- progress --------------------------------------------------------------------------------

    @property
    def memory(self) -> MinimiserMemory | None:
        if self.non_finite or not self._has_begun:
            return None
        return MinimiserMemory(
            [self._x],
            np.array([self._damping, self._decay]),
            np.array([self._n_iterations, self._status], np.int64),
            self.statistics,
            np.zeros(0),
            np.array([self._n_iterations], np.int64),
        )

    def _restore(self, memory: MinimiserMemory) -> None:
        """Begin at the state of a memory; raise ValueError if it contradicts itself or the network."""
        numbers, counts = memory.numbers, memory.counts
        if not (
            [vector.shape for vector in memory.vectors] == [self._x.shape]
            and numbers.shape == counts.shape == (2,)
            and np.isfinite(numbers).all()
            and numbers[0] > 0 <= numbers[1]
            and counts[0] == memory.progress[0]
            and counts[1] in (RUNNING, CONVERGED_GRADIENT, CONVERGED_VALUE)
        ):
            raise ValueError(
                "the state of Levenberg-Marquardt contradicts itself or the network: train again"
            )
        self._x = memory.vectors[0].copy()
        check_parameters(self._network.convert_parameters(self._wide, self._x), self.current)
        self._damping, self._decay = numbers.tolist()
        self._n_iterations, self._status = counts.tolist()

    @property
    def ending(self) -> Ending | None:
        is_last = self._n_iterations >= self._job.num_passes
        return ENDINGS.get(MAX_ITERATIONS if is_last and not self._status else self._status)

    def _advance(self) -> None:
        next(self._work, None)

    # --- the minimisation ------------------------------------------------------------------------

    def _minimise(self) -> Iterator[None]:
        """Do the iterations; yield after every block of samples, and after every iteration."""
        job, optimizer, x, damping = self._job, self._optimizer, self._x, self._damping
        is_start = True
        while True:
            error = yield from self._evaluate(x, linearises=True)
            point = self._network.convert_parameters(self._wide, x)
            self.non_finite = find_non_finite(point, self.statistics)
            if not np.isfinite([error, self._g.sum(), self._diagonal.sum()]).all():
                self.non_finite = "a derivative of the loss" if np.isfinite(error) else "the loss"
            if self.non_finite:
                return
            if optimizer.bayesian and not (is_start and self._has_begun):
                self._choose_decay(x, error)
            self._x, self._damping, self._has_begun = x, damping, True
            self._g += self._decay * self._is_penalised * x
            penalty = self._compute_penalty(x)
            self.objective = job.weight_scale * (job.loss_share * error + penalty)
            if not is_start:
                self._record(point, error, job.weight_scale * float(np.linalg.norm(self._g)))
                self._n_iterations += 1
                yield
            is_start = False
            if job.weight_scale * np.abs(self._g).max() <= optimizer.gtol:
                self._status = CONVERGED_GRADIENT
                return
            value, most = error + penalty, MAX_DAMPING * max(1.0, self._diagonal.max())
            while True:
                factor, failed = self._factorise(damping)
                if not failed:
                    x = self._x - self._lapack.dpotrs(factor, self._g)[0]
                    error = yield from self._evaluate(x)
                    if error + self._compute_penalty(x) < value:
                        break
                damping *= optimizer.up
                if damping > most:
                    self._status = CONVERGED_VALUE
                    return
            damping = max(damping * optimizer.down, MIN_DAMPING)

    def _evaluate(self, x: Array, linearises: bool = False) -> Generator[None, None, float]:
        """Return E at the parameters x, and yield after every block; compute H and g if `linearises`."""
        job, passes, error = self._job, self._passes, 0.0
        passes.parameters[...] = x
        if linearises:
            self._H[...], self._g[...] = 0, 0
        for first in range(0, job.n_samples, BLOCK_ROWS):
            rows = slice(first, first + BLOCK_ROWS)
            root = np.sqrt(job.weights[rows])
            R = root[:, None] * (passes.forward(make_dense(job.X[rows])) - job.y[rows])
            error += 0.5 * float(np.vdot(R, R))
            for output in range(R.shape[1] if linearises else 0):
                dS, begin = np.zeros(R.shape), 0
                dS[:, output] = root
                for J in passes.sample_gradients(dS):
                    end = begin + len(J)
                    self._syrk(1.0, J, beta=1.0, c=self._H, trans=1, overwrite_c=1)
                    self._g += R[begin:end, output] @ J
                    begin = end
            yield
        return error

    def _factorise(self, damping: float) -> tuple[Array, int]:
        """Return Cholesky's factor of H with penalty and damping, and 0, or another number if it has none."""
        A = self._H.copy(order="F")
        np.einsum("ii->i", A)[...] += self._decay * self._is_penalised + damping
        return self._lapack.dpotrf(A, overwrite_a=1)

    def _compute_penalty(self, x: Array) -> float:
        return 0.5 * self._decay * float(x @ (self._is_penalised * x))

    def _choose_decay(self, x: Array, error: float) -> None:
        """Choose the penalty by its evidence: the data determine some of the parameters.

        The ratio of the two variances, of the parameters that are determined and of the residuals that are
        left over, is the strength of the penalty in units of E.
        """
        energy = 0.5 * float(x @ x)
        if not energy:
            return
        if not self._has_begun:
            self._decay = FIRST_PENALTY * error / energy
            return
        factor, failed = self._factorise(0.0)
        if failed:
            return
        # The padding adds as much to the size as to the trace.
        n_determined = len(x) - self._decay * np.trace(self._lapack.dpotri(factor, overwrite_c=1)[0])
        n_residuals = self._job.total_weight * self._network.n_outputs
        if n_determined > 0:
            decay = n_determined / energy * error / max(n_residuals - n_determined, EPS * n_residuals)
            self._decay = min(decay, MAX_GROWTH * self._decay)
