"""TrainingState: state from which a `Model`'s training is resumed with the same bits."""

from __future__ import annotations

import hashlib
import zlib
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastnn_kernels.calls.training import Records

from ..engine.job import Job, Memory
from ..engine.lbfgs import LBFGSMemory
from ..network.description import Network
from ..optimizers import LBFGS, Optimizer
from ..saving.networks import (
    read_parameters,
    read_rows,
    read_statistics,
    write_parameters,
    write_rows,
    write_statistics,
)
from ..saving.records import Reader, Writer
from ..saving.values import check_integer
from ..schedules import FunctionSchedule, Schedule
from .history import record_every

__all__ = ["BestEpoch", "TrainingState", "read_memory", "write_memory"]

Array = NDArray[Any]

# Largest number of bytes of an array in its SHA-256 digest, in blocks of BLOCK_BYTES spread evenly over it.
DIGEST_BYTES, BLOCK_BYTES = 1 << 19, 1 << 12
# Fields of a Job that decide the result, with the names of the arguments of `Model.train`.
SETTINGS = {
    "optimizer": "optimizer",
    "schedule": "schedule",
    "epsilon": "epsilon",
    "reg_lambda": "reg_lambda",
    "batch_size": "batch_size",
    "averaged": "reduction",
    "shuffled": "shuffle",
    "l1": "l1",
    "max_norm": "max_norm",
    "clip_norm": "clip_norm",
    "average_share": "ema_decay",
}


@dataclass
class BestEpoch:
    """Parameters and running statistics of the best epoch by the validation data.

    Parameters
    ----------
    value : float
        Validation loss or negated score of the epoch.
    n_pass : int
        Number of the first epoch with this value, counted from 0, from which the patience counts.
    parameters, statistics : array
        Flat vectors after the epoch.
    """

    value: float
    n_pass: int
    parameters: Array
    statistics: Array


@dataclass
class TrainingState:
    """State after some steps of a training of a `Model`.

    Parameters
    ----------
    settings : dict
        Values of the job's fields in `SETTINGS`.
    data : dict
        Number of samples, and digests of the samples, targets and weights.
    num_passes : int
        Number of epochs of the whole training.
    record_every : int
        Distance, in epochs, between two kept epochs.
    n_steps : int
        Number of whole steps done.
    seed : int
        Seed of the dropout masks and of the orders of the samples.
    memory : Memory, LBFGSMemory or None
        Arrays that the next step needs; None for L-BFGS before its first evaluation and after a divergence.
    records : Records
        Measurements of the kept epochs so far.
    validation : array (R,)
        Validation losses of these epochs.
    last : two arrays, optional
        Parameters and running statistics after the last step, where they are not those of the model.
    best : BestEpoch, optional
        Best epoch of an early stopping.
    """

    settings: dict[str, Any]
    data: dict[str, Any]
    num_passes: int
    record_every: int
    n_steps: int
    seed: int
    memory: Memory | LBFGSMemory | None
    records: Records
    validation: NDArray[np.float64]
    last: tuple[Array, Array] | None = None
    best: BestEpoch | None = None

    @classmethod
    def of_job(cls, job: Job, whole: bool) -> TrainingState:
        """Return the state of a training that has done no step; its memory and measurements are empty.

        The digests of large data cover all bytes if `whole`, which takes a few per cent of an epoch.
        """
        settings = {name: getattr(job, name) for name in SETTINGS}
        data = {
            "n_samples": job.n_samples,
            "X": _digest(job.X, whole),
            "y": _digest(job.y, whole),
            "sample_weight": _digest(job.weights, whole),
            "whole": whole,
        }
        empty = Records(np.empty(0), np.empty(0), np.empty((0, 0)))
        return cls(settings, data, job.num_passes, job.record_every, 0, job.seed, None, empty, np.empty(0))

    @property
    def n_passes(self) -> int:
        """Number of whole epochs done."""
        n_batches = -(-self.data["n_samples"] // max(1, self.settings["batch_size"]))
        return int(self.n_steps // max(1, n_batches))

    def after(
        self, trainer: Any, n_records: int, validation: NDArray[np.float64], best: BestEpoch | None
    ) -> TrainingState:
        """Return the state after the trainer's last whole step; it shares the trainer's arrays.

        Parameters
        ----------
        trainer : Trainer
            Trainer of the job.
        n_records : int
            Number of records to keep, one for each kept epoch that has begun.
        validation : array (R,)
            Validation losses of all kept epochs.
        best : BestEpoch or None
            Best epoch of an early stopping.
        """
        return replace(
            self,
            n_steps=trainer.n_steps,
            memory=trainer.memory,
            records=Records(*(array[:n_records] for array in trainer.records)),
            validation=validation[:n_records],
            best=best,
        )

    def continued(self, job: Job, seed_is_given: bool) -> Job:
        """Return the job that resumes the training at this state.

        Parameters
        ----------
        job : Job
            Job of the whole training, as its arguments describe it.
        seed_is_given : bool
            True if `random_state` or `rng` was an integer, from which the seed of `job` was drawn.

        Raises
        ------
        ValueError
            If a setting, the data or the seed differ, or the training cannot be resumed.
        """
        now = TrainingState.of_job(job, self.data["whole"])
        differing = [name for name in SETTINGS if self.settings[name] != now.settings[name]]
        if "batch_size" in differing:  # on which it depends whether samples are shuffled, by the seed
            differing = [name for name in differing if name != "shuffled"]
            seed_is_given = False
        wrong = [
            f"{SETTINGS[name]} ({_as_argument(name, self.settings[name])} before, "
            f"{_as_argument(name, now.settings[name])} now)"
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
                "resume: this training by 'lbfgs' has diverged, or has not evaluated its first point: train "
                "again without resume, which starts from the present parameters"
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
        before = np.arange(len(self.validation)) * self.record_every
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

    # --- files -------------------------------------------------------------------------------------------

    def describe(self, network: Network, writer: Writer) -> dict[str, Any]:
        """Return the description of the state as JSON, and collect its arrays."""
        if self.last is not None:
            write_parameters(network, self.last[0], "last", writer)
            write_statistics(network, self.last[1], "last", writer)
        best = None
        if self.best is not None:
            best = {"value": writer.value(self.best.value, "best"), "n_pass": self.best.n_pass}
            write_parameters(network, self.best.parameters, "best", writer)
            write_statistics(network, self.best.statistics, "best", writer)
        for field, array in zip(Records._fields, self.records, strict=True):
            writer.tensor(f"records.{field}", array)
        writer.tensor("records.validation", self.validation)
        return {
            "settings": {name: writer.value(value, SETTINGS[name]) for name, value in self.settings.items()},
            "data": self.data,
            "num_passes": self.num_passes,
            "record_every": self.record_every,
            "n_steps": self.n_steps,
            "seed": writer.value(self.seed, "seed"),
            "memory": write_memory(network, self.memory, writer),
            "has_last": self.last is not None,
            "best": best,
        }

    @classmethod
    def restore(cls, network: Network, description: Any, reader: Reader) -> TrainingState:
        """Return the state of a description; raise ValueError if it contradicts itself or its arrays."""
        if not isinstance(description, dict):
            raise ValueError("the training state is not a JSON object")
        settings = {name: reader.value(description["settings"][name]) for name in SETTINGS}
        optimizer, schedule = settings["optimizer"], settings["schedule"]
        if not (isinstance(optimizer, Optimizer) and isinstance(schedule, Schedule)):
            raise ValueError("the training state has no optimizer or schedule")
        if not all(
            type(settings[name]) in (bool, int, float) for name in set(SETTINGS) - {"optimizer", "schedule"}
        ):
            raise ValueError("a setting of the training is not a number")
        batch_size = check_integer(settings["batch_size"], "batch_size", 2**62)
        data = description["data"]
        keys = {"n_samples", "X", "y", "sample_weight", "whole"}
        if not (isinstance(data, dict) and set(data) == keys and type(data["whole"]) is bool):
            raise ValueError("the training state does not describe its data")
        n_samples = check_integer(data["n_samples"], "n_samples", 2**62)
        num_passes = check_integer(description["num_passes"], "num_passes", 2**62)
        every = max(1, check_integer(description["record_every"], "record_every", 2**62))
        n_steps = check_integer(description["n_steps"], "n_steps", 2**62)
        losses = reader.read("records.losses", np.float64, (None,))
        n_records = len(losses)
        # Every kept epoch that has begun has a record; the last epoch is kept wherever it lies.
        n_passes = -(-n_steps // -(-max(1, n_samples) // max(1, batch_size)))
        if n_records > n_passes or (n_records > 1 and (n_records - 2) * every >= n_passes):
            raise ValueError(f"{n_records} records do not fit {n_steps} steps")
        records = Records(
            losses,
            reader.read("records.norms", np.float64, (n_records,)),
            reader.read("records.ratios", np.float64, (n_records, len(network.shapes))),
        )
        last = best = None
        if description["has_last"]:
            last = read_parameters(network, "last", reader), read_statistics(network, "last", reader)
        if description["best"] is not None:
            best = BestEpoch(
                float(reader.value(description["best"]["value"])),
                check_integer(description["best"]["n_pass"], "n_pass", 2**62),
                read_parameters(network, "best", reader),
                read_statistics(network, "best", reader),
            )
        memory = read_memory(network, optimizer, description["memory"], reader)
        if isinstance(memory, Memory):
            # The kernels rely on the sizes of these arrays.
            if memory.order.size != (n_samples if batch_size < n_samples else 0):
                raise ValueError("the order of the samples does not fit their number")
            if bool(memory.average.size) != (settings["average_share"] > 0):
                raise ValueError("the average of the parameters does not fit ema_decay")
        elif memory is not None and memory.progress[0] != n_steps:
            raise ValueError(f"the state of L-BFGS does not fit {n_steps} steps")
        if last is not None and best is None and not (isinstance(memory, Memory) and memory.average.size):
            raise ValueError("the last parameters have neither a best epoch nor an average beside them")
        return cls(
            settings,
            data,
            num_passes,
            every,
            n_steps,
            check_integer(reader.value(description["seed"]), "seed", 2**64),
            memory,
            records,
            reader.read("records.validation", np.float64, (n_records,)),
            last,
            best,
        )

    def plain(self) -> dict[str, Any]:
        """Return the fields as a dict of plain values, for pickles."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        values["memory"] = None if self.memory is None else vars(self.memory)
        values["records"] = self.records._asdict()
        values["best"] = None if self.best is None else vars(self.best)
        return values

    @classmethod
    def of_plain(cls, values: dict[str, Any]) -> TrainingState:
        """Return the state of a dict that `plain` returned."""
        memory, best = values["memory"], values["best"]
        return cls(
            **values
            | {
                "memory": None if memory is None else _memory_of(memory),
                "records": Records(**values["records"]),
                "best": None if best is None else BestEpoch(**best),
            }
        )


def _memory_of(values: dict[str, Any]) -> Memory | LBFGSMemory:
    """Return the memory whose fields a pickle holds."""
    if "optimizer" in values:
        return Memory(**values)
    return LBFGSMemory(**values)


def write_memory(network: Network, memory: Memory | LBFGSMemory | None, writer: Writer) -> Any:
    """Collect the arrays of a training's memory; return what `read_memory` needs besides them."""
    if memory is None:
        return None
    if isinstance(memory, LBFGSMemory):
        return _write_lbfgs(network, memory, writer)
    write_rows(network, memory.optimizer, "optimizer", writer)
    if memory.average.size:
        write_parameters(network, memory.average, "average", writer)
    writer.tensor("order", memory.order)
    writer.tensor("generator", memory.generator)
    return {
        "has_average": bool(memory.average.size),
        "plateau": [writer.value(float(number), "plateau") for number in memory.plateau],
    }


def read_memory(
    network: Network, optimizer: Optimizer | None, description: Any, reader: Reader
) -> Memory | LBFGSMemory | None:
    """Return the memory of a training; raise ValueError if an array is not what the kernels need."""
    if description is None:
        return None
    if isinstance(optimizer, LBFGS):
        return _read_lbfgs(network, reader)
    initial = () if optimizer is None else optimizer.initial_state
    average = np.empty(0, network.dtype)
    if description["has_average"]:
        average = read_parameters(network, "average", reader)
    order = reader.read("order", np.int64, (None,))
    # The kernels use these numbers as indices without a check.
    seen = np.zeros(order.size, np.bool_)
    if order.size and order.min() >= 0 and order.max() < order.size:
        seen[order] = True
    if not seen.all():
        raise ValueError("the order of the samples is not a permutation")
    generator = reader.read("generator", np.uint32, (625,))
    if generator[624] > 624:
        raise ValueError("the generator's position is above 624, the number of its words")
    plateau = np.array([float(reader.value(number)) for number in description["plateau"]], np.float64)
    if plateau.shape != (2,):
        raise ValueError("the plateau does not have two numbers")
    if not 0 <= plateau[1] < 2**53:
        raise ValueError(f"the number of epochs without an improvement is {plateau[1]}")
    optimizer_state = read_rows(network, initial, "optimizer", reader)
    return Memory(optimizer_state, average, order, generator, plateau)


def _write_lbfgs(network: Network, memory: LBFGSMemory, writer: Writer) -> dict[str, Any]:
    """Collect the arrays of L-BFGS's memory; its description is empty."""
    write_rows(network, memory.vectors, "lbfgs.vectors", writer)
    write_statistics(network, memory.statistics, "lbfgs.statistics", writer)
    for name in ("numbers", "counts", "losses", "progress"):
        writer.tensor(f"lbfgs.{name}", getattr(memory, name))
    return {}


def _read_lbfgs(network: Network, reader: Reader) -> LBFGSMemory:
    """Return L-BFGS's memory; trainers check whether its arrays fit each other."""
    n_rows = 0
    while reader.has(f"lbfgs.vectors.{n_rows}.0.weight"):
        n_rows += 1
    return LBFGSMemory(
        vectors=list(read_rows(network, (0.0,) * n_rows, "lbfgs.vectors", reader, np.dtype(np.float64))),
        numbers=reader.read("lbfgs.numbers", np.float64, (None,)),
        counts=reader.read("lbfgs.counts", np.int64, (None,)),
        statistics=read_statistics(network, "lbfgs.statistics", reader),
        losses=reader.read("lbfgs.losses", np.float64, (3,)),
        progress=reader.read("lbfgs.progress", np.int64, (2,)),
    )


def _as_argument(name: str, value: Any) -> str:
    """Return a setting of a job as text: the value of the argument of `Model.train` that sets it."""
    if name == "averaged":
        return repr("mean" if value else "sum")
    if name in ("max_norm", "clip_norm") and not value:
        return "None"
    if name == "average_share":
        return repr(1.0 - value) if value else "None"
    if isinstance(value, FunctionSchedule):
        return repr(value.function)
    return repr(value)


def _digest(array: Any, whole: bool) -> str:
    """Return a digest of an array's shape, dtype and content, or of a CSR matrix's.

    The SHA-256 digest of large arrays covers blocks that are spread evenly; if `whole`, also the CRC-32
    checksum of all bytes.
    """
    if not isinstance(array, np.ndarray):
        return "-".join(_digest(component, whole) for component in (array.data, array.indices, array.indptr))
    digest = hashlib.sha256(f"{array.shape} {array.dtype.newbyteorder('<').str}".encode())
    data = np.ascontiguousarray(array, array.dtype.newbyteorder("<")).reshape(-1).view(np.uint8)
    n_blocks = DIGEST_BYTES // BLOCK_BYTES
    if data.size <= DIGEST_BYTES:
        digest.update(data.data)
    else:
        for first in np.linspace(0, data.size - BLOCK_BYTES, n_blocks).astype(np.int64).tolist():
            digest.update(data[first : first + BLOCK_BYTES].data)
        if whole:
            digest.update(zlib.crc32(data.data).to_bytes(4, "little"))
    return digest.hexdigest()[:16]
