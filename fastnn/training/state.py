"""TrainingState: state from which a `Model`'s training is resumed with the same bits."""

from __future__ import annotations

import hashlib
import zlib
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastnn_kernels.calls.training import Records

from ..engine.job import Job, Memory
from ..engine.minimisation import MinimiserMemory
from ..engine.protocol import MinimisingTrainer, StepTrainer
from ..network.description import Network
from ..schedules import FunctionSchedule
from ..system.validation import Array, check_count
from .history import record_every
from .options import SETTINGS, TrainOptions
from .patience import BestEpoch

# Largest number of bytes of an array in its SHA-256 digest, in blocks of BLOCK_BYTES spread evenly over it.
DIGEST_BYTES, BLOCK_BYTES = 1 << 19, 1 << 12


@dataclass
class TrainingState:
    """State after some steps of a training of a `Model`."""

    settings: dict[str, Any]  # values of `SETTINGS`
    data: dict[str, Any]  # number of samples, and digests of the samples, targets and weights
    num_passes: int  # number of epochs of the whole training
    record_every: int  # distance, in epochs, between two kept epochs
    n_steps: int  # number of whole steps done
    seed: int  # of the dropout masks and of the orders of the samples
    # Arrays that the next step needs; None for a `Minimiser` before its first evaluation or after divergence.
    memory: Memory | MinimiserMemory | None
    records: Records  # measurements of the kept epochs so far
    validation: NDArray[np.float64]  # (R,): validation losses of these epochs
    # Parameters and running statistics after the last step, where they differ from the model's.
    last: tuple[Array, Array] | None = None
    best: BestEpoch | None = None  # of an early stopping

    def __post_init__(self) -> None:
        self.records = Records(*self.records)  # a tuple in files

    @classmethod
    def from_job(cls, job: Job, whole: bool) -> TrainingState:
        """Return the state of a training that has done no step; its memory and measurements are empty.

        The digests of large data cover all bytes if `whole`, which takes a few per cent of an epoch.
        """
        settings = {name: getattr(job, name) for name in SETTINGS} | {"shuffle": job.shuffled}
        data = {
            "n_samples": job.n_samples,
            "X": _compute_digest(job.X, whole),
            "y": _compute_digest(job.y, whole),
            "sample_weight": _compute_digest(job.weights, whole),
            "whole": whole,
        }
        empty = Records(np.empty(0), np.empty(0), np.empty((0, 0)))
        return cls(settings, data, job.num_passes, job.record_every, 0, job.seed, None, empty, np.empty(0))

    def move_on(
        self,
        trainer: StepTrainer | MinimisingTrainer,
        n_records: int,
        validation: NDArray[np.float64],
        best: BestEpoch | None,
    ) -> TrainingState:
        """Return the state after the trainer's last whole step; it shares the trainer's arrays.

        It has the records of the `n_records` kept epochs that have begun.
        """
        now = {
            "n_steps": trainer.n_steps,
            "memory": trainer.memory,
            "records": (array[:n_records] for array in trainer.records),
            "validation": validation[:n_records],
            "best": best,
        }
        return TrainingState(**vars(self) | now)

    def resume(self, job: Job, seed_is_given: bool) -> Job:
        """Return the job of the whole training, begun at this state.

        `seed_is_given` says that `random_state` or `rng` was an integer, from which the job's seed was drawn.
        Other settings, data or seeds, and a training that cannot be resumed, are a ValueError.
        """
        now = TrainingState.from_job(job, self.data["whole"])
        differing = [name for name in SETTINGS if self.settings[name] != now.settings[name]]
        if "batch_size" in differing:  # on which it depends whether samples are shuffled, by the seed
            differing = [name for name in differing if name != "shuffle"]
            seed_is_given = False
        wrong = [
            f"{name} ({_format_argument(name, self.settings[name])} before, "
            f"{_format_argument(name, now.settings[name])} now)"
            for name in differing
        ]
        names = {"n_samples": "the number of samples", "X": "X", "y": "y", "sample_weight": "sample_weight"}
        wrong += [argument for key, argument in names.items() if self.data[key] != now.data[key]]
        if seed_is_given and self.seed != job.seed:
            wrong.append("random_state or rng")
        if wrong:
            raise ValueError(
                f"resume: these differ from the training to resume: {', '.join(wrong)}. Pass the same "
                "values, or leave out resume to begin a new training from the present parameters"
            )
        if self.memory is None:
            raise ValueError(
                f"resume: this training by {job.optimizer.name!r} has diverged, or has not evaluated its "
                "first point: train again without resume, which starts from the present parameters"
            )
        n_passes = -(-self.n_steps // job.n_batches)
        if job.num_passes < n_passes:
            raise ValueError(
                f"resume: num_passes={job.num_passes} counts the epochs of the whole training, and "
                f"{n_passes} of them are done already: pass a larger number"
            )
        # Only kept epochs have records: a longer training keeps some of the epochs of the shorter one.
        every = -(-record_every(job.num_passes) // self.record_every) * self.record_every
        return replace(job, seed=self.seed, steps_done=self.n_steps, record_every=every)

    def fill(self, job: Job, records: Records, validation: NDArray[np.float64]) -> None:
        """Copy the measurements so far into the arrays of the training that is resumed by `job`."""
        before = np.arange(len(self.validation), dtype=np.int64) * self.record_every
        # The last epoch of the shorter training is kept wherever it lies.
        n_done = -(-self.n_steps // job.n_batches)
        if len(before) and before[-1] >= n_done:
            before[-1] = n_done - 1
        for source, n_pass in enumerate(before.tolist()):
            target = job.record(n_pass)
            if target is None:
                continue
            for mine, old in zip((*records, validation), (*self.records, self.validation), strict=True):
                mine[target] = old[source]

    def check(self, network: Network) -> None:
        """Give the arrays besides the memory, which `Memory.take` checks, the layout of kernels.

        A number or an array on which a resumed training cannot rely is a ValueError.
        """
        check_count(self.n_steps, "n_steps")
        check_count(self.record_every, "record_every", 1)
        if self.settings.keys() != {*SETTINGS, "shuffle"}:
            raise ValueError("the saved settings are not a training's")
        kept = [*self.records, self.validation]
        are_floats = all(array.dtype.str[1:] == "f8" for array in kept)
        if not are_floats or [array.ndim for array in kept] != [1, 1, 2, 1] or len(set(map(len, kept))) > 1:
            raise ValueError("the saved records are not arrays of float64, equally long")
        if self.last is not None:
            self.last = network.check_vectors(*self.last)
        if self.best is not None:
            best = self.best
            best.parameters, best.statistics = network.check_vectors(best.parameters, best.statistics)
        if isinstance(self.memory, MinimiserMemory) and self.memory.progress[0] != self.n_steps:
            raise ValueError(f"the minimisation saved does not end after {self.n_steps} iterations")


def _format_argument(name: str, value: Any) -> str:
    """Return a setting of a job as text: the value of the argument of `Model.train` that sets it."""
    if getattr(TrainOptions, name) is None and value == getattr(TrainOptions(), name):
        return "None"  # a job holds 0 for no limit
    return repr(value.function if isinstance(value, FunctionSchedule) else value)


def _compute_digest(array: Any, whole: bool) -> str:
    """Return a digest of an array's shape, dtype and content, or of a CSR matrix's.

    The SHA-256 digest of large arrays covers blocks that are spread evenly; if `whole`, also the CRC-32
    checksum of all bytes.
    """
    if not isinstance(array, np.ndarray):
        return "-".join(
            _compute_digest(component, whole) for component in (array.data, array.indices, array.indptr)
        )
    dtype = array.dtype.newbyteorder("<")
    digest = hashlib.sha256(f"{array.shape} {dtype.str}".encode())
    data = np.ascontiguousarray(array, dtype).ravel().view(np.uint8)
    n_blocks = DIGEST_BYTES // BLOCK_BYTES
    if data.size <= DIGEST_BYTES:
        digest.update(data.data)
    else:
        for first in np.linspace(0, data.size - BLOCK_BYTES, n_blocks).astype(np.int64).tolist():
            digest.update(data[first : first + BLOCK_BYTES].data)
        if whole:
            digest.update(zlib.crc32(data.data).to_bytes(4, "little"))
    return digest.hexdigest()[:16]
