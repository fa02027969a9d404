"""The subcommand ``fastnn compile``: fill the kernel cache before the first use of fastnn.

A *task* uses fastnn on a few samples, as a user would, so that the kernels of this use are compiled and
stored. There are tasks for all activations, losses, optimizers and responses in the registries. Tasks run in
parallel processes. Tasks whose kernels are parts of many others run first, so that no two processes compile
the same kernel.
"""

from __future__ import annotations

import argparse
import functools
import logging
import multiprocessing
import os
import signal
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from fastnn_kernels.compiler.interrupts import held_interrupts
from fastnn_kernels.compiler.prebuilt import library

from ..losses import LOSSES, Loss
from ..model import Model
from ..network.description import Network
from ..optimizers import LBFGS, OPTIMIZERS
from ..reference.grid import RESPONSES
from ..reference.layer import ACTIVATIONS
from ..system.progress import progress_bar
from ..system.threads import Flag, available_cores

__all__ = ["DTYPES", "PURPOSES", "TASKS", "CompileTask", "Filled", "add_command", "fill_cache"]

DTYPES = ("float64", "float32")
PURPOSES = ("training", "estimators", "pictures")

# Seconds between two checks for Ctrl-C.
INTERRUPT_SECONDS = 0.2


class CompileTask(NamedTuple):
    """Use of fastnn that compiles kernels.

    Parameters
    ----------
    name : str
        Name of the task.
    purposes : tuple of str
        Purposes, from `PURPOSES`, that need the kernels.
    run : callable
        Function of the dtype that uses fastnn.
    is_first : bool
        True if the kernels are parts of other tasks' kernels; the other tasks run afterwards.
    """

    name: str
    purposes: tuple[str, ...]
    run: Callable[[np.dtype], object]
    is_first: bool


class Filled(NamedTuple):
    """Result of `fill_cache`.

    Parameters
    ----------
    folder : Path
        Folder of the cache.
    n_kernels : int
        Number of new kernels in the cache.
    n_bytes : int
        Size of the new kernels in bytes.
    seconds : float
        Elapsed time in seconds.
    """

    folder: Path
    n_kernels: int
    n_bytes: int
    seconds: float


def add_command(commands: Any, summary: str) -> None:
    """Add the subcommand, with a summary in one line, to the subparsers of ``fastnn``."""
    parser = commands.add_parser(
        "compile",
        help=summary,
        description="Compile the kernels of the usual uses in parallel processes, and store them on disk: in "
        "the folder NUMBA_CACHE_DIR, in the package, or in the user's cache folder. Processors with the same "
        "instruction set can load them.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--dtype", choices=[*DTYPES, "both"], default="both", help="dtype of the networks")
    parser.add_argument(
        "--for", dest="purposes", type=_purposes, metavar="PURPOSES", default=",".join(PURPOSES),
        help=f"uses to compile for, separated by commas (default: {','.join(PURPOSES)})",
    )  # fmt: skip
    parser.set_defaults(run=_run_command)


def _purposes(text: str) -> tuple[str, ...]:
    """Parse purposes, which are separated by commas."""
    purposes = tuple(text.split(","))
    for purpose in purposes:
        if purpose not in PURPOSES:
            raise argparse.ArgumentTypeError(f"{purpose!r} is none of {', '.join(PURPOSES)}")
    return purposes


def _run_command(options: argparse.Namespace) -> int:
    filled = fill_cache(DTYPES if options.dtype == "both" else (options.dtype,), options.purposes)
    if (found := library()) and not filled.n_kernels:
        print(f"nothing to compile: the kernels are in {found.path}, compiled ahead of time")
        return 0
    print(
        f"{filled.n_kernels} kernels, {filled.n_bytes / 1e6:.1f} MB, compiled in {filled.seconds:.1f} s and "
        f"kept in {filled.folder}"
    )
    return 0


def fill_cache(dtypes: Iterable[str] = DTYPES, purposes: Iterable[str] = PURPOSES) -> Filled:
    """Compile the kernels of the usual uses, and store them on disk.

    A progress bar is shown if stderr is a terminal.

    Parameters
    ----------
    dtypes : iterable of str
        Dtypes of the networks, from `DTYPES`.
    purposes : iterable of str
        Uses to compile for, from `PURPOSES`.

    Returns
    -------
    Filled
        Folder of the cache, and number and size of the new kernels.

    Raises
    ------
    OSError
        If kernels cannot be stored, with the reason and advice.
    RuntimeError
        If NUMBA_DISABLE_JIT is set, or if a process was killed.
    KeyboardInterrupt
        After Ctrl-C. Kernels compiled before are stored.
    """
    from concurrent.futures import ProcessPoolExecutor
    from concurrent.futures.process import BrokenProcessPool

    from fastnn_kernels.compiler.cache import entry_files, usable_folder

    began = time.perf_counter()
    folder, before = usable_folder(), entry_files()
    wanted = set(purposes)
    chosen = [(task, dtype) for task in TASKS.values() if wanted & {*task.purposes} for dtype in dtypes]
    interrupted, is_done, others = Flag(), False, {*multiprocessing.active_children()}
    # An interrupt within the Python code of the pool could leave the pool waiting forever: hold interrupts.
    with (
        held_interrupts(interrupted.set),
        progress_bar(total=len(chosen), unit="task", shown=sys.stderr.isatty(), dynamic_ncols=True) as bar,
    ):
        # A forked process would inherit locked locks without the threads that hold them: spawn processes.
        pool = ProcessPoolExecutor(
            min(available_cores(), len(chosen)), multiprocessing.get_context("spawn"), _begin_process
        )
        try:
            stages = (
                [(task.run, dtype) for task, dtype in chosen if task.is_first == is_first]
                for is_first in (True, False)
            )
            is_done = all(_are_done(_submitted(pool, tasks), bar.update, interrupted) for tasks in stages)
        except BrokenProcessPool:
            raise RuntimeError(
                "a process that compiles kernels was killed, perhaps because the memory is full: run the "
                "command again, with more memory free. It continues after the kernels that are already stored"
            ) from None
        finally:
            if not is_done:  # cache files are written atomically: processes may be terminated
                for process in {*multiprocessing.active_children()} - others:
                    process.terminate()
            pool.shutdown(cancel_futures=True)
    new = {path: size for path, size in entry_files().items() if path not in before}
    return Filled(folder, len(new), sum(new.values()), time.perf_counter() - began)


def _submitted(pool: Executor, tasks: Iterable[tuple[Callable[[np.dtype], object], str]]) -> set[Future[str]]:
    """Submit tasks to a pool, which starts its processes during the call."""
    # Ctrl-C in a terminal interrupts all processes, and a process that ends before `_begin_process` breaks
    # the pool. New processes inherit ignored signals: ignore Ctrl-C while they start.
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        return {pool.submit(_run, *task) for task in tasks}
    finally:
        signal.signal(signal.SIGINT, before)


def _are_done(running: set[Future[str]], note: Callable[[], object], interrupted: Flag) -> bool:
    """Wait for all tasks, and call `note` after each; return False immediately after an interrupt."""
    while running and not interrupted():
        done, running = wait(running, INTERRUPT_SECONDS, FIRST_COMPLETED)
        for future in done:
            if refusal := future.result():
                raise OSError(refusal)
            note()
    return not interrupted()


def _begin_process() -> None:
    """Prepare a process that compiles: Ctrl-C and messages are left to the parent process.

    The process ends when the parent process ends.
    """
    threading.Thread(target=_end_with_parent, daemon=True).start()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    warnings.simplefilter("ignore")
    logging.getLogger("fastnn").setLevel(logging.WARNING)


def _end_with_parent() -> None:
    """Wait for the end of the parent process, and end this one."""
    # If the parent is killed, it stops no process of its pool, and these would wait for tasks for ever.
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _run(run: Callable[[np.dtype], object], dtype: str) -> str:
    """Run a task; return the reason why a kernel of this process could not be stored, or ""."""
    from fastnn_kernels.compiler.cache import refusal

    run(np.dtype(dtype))
    return refusal.reason


# --- the tasks ---------------------------------------------------------------------------------------

F = TypeVar("F", bound=Callable[..., object])

# Tasks by name, the longest first: if a long task began last, the other processes would wait for it.
TASKS: dict[str, CompileTask] = {}


def _task(name: str, *purposes: str, is_first: bool = False, **settings: Any) -> Callable[[F], F]:
    """Return a decorator that adds a task to `TASKS`: a function of the dtype, called with `settings`."""

    def add(function: F) -> F:
        TASKS[name] = CompileTask(name, purposes, functools.partial(function, **settings), is_first)
        return function

    return add


# More samples than in the estimators' default minibatch of 200, so that a batch does not hold all samples.
N_SAMPLES = 210


def _samples(dtype: np.dtype, n_features: int = 2) -> NDArray[Any]:
    return np.random.default_rng(0).standard_normal((N_SAMPLES, n_features)).astype(dtype)


def _targets(loss: Loss) -> NDArray[Any]:
    """Return labels of three classes, or three columns of 0 and 1, depending on the loss."""
    labels = np.arange(N_SAMPLES) % 3
    return labels if loss.of_labels else np.eye(3)[labels]


def _train(
    dtype: np.dtype, sizes: tuple[int, ...] = (2, 3, 3), batch_size: int | None = 100, **settings: Any
) -> Model:
    """Train for one epoch, with settings of `Model` and of `Model.train`."""
    names = {"activation", "loss", "dropout", "batch_norm"}
    model = Model(sizes, dtype=dtype, random_state=0, **{k: settings.pop(k) for k in names & {*settings}})
    X, y = _samples(dtype, sizes[0]), _targets(model.loss)
    model.train(X, y, 1, epsilon=1e-6, batch_size=batch_size, random_state=0, **settings)
    return model


_task("minibatches", "training", "estimators", is_first=True)(_train)


@_task("picture by squares", "pictures", is_first=True)
def _paint(dtype: np.dtype, **settings: Any) -> None:
    """Paint a small picture with the responses and settings of `render_boundary`."""
    from ..boundary.render import render_boundary

    activation = settings.pop("activation", "tanh")
    model = Model([2, 3, 2], activation=activation, dtype=dtype, random_state=0)
    settings.setdefault("method", "certified")
    render_boundary(model, (-1, 1), (-1, 1), 16, n_threads=1, **settings)


# Layers with so many parameters that threads share the units in a step.
_WIDE = (300, 200, 3)
_task("minibatches, shared", "training", "estimators", sizes=_WIDE)(_train)
_task("minibatches of few samples", "training", "estimators", batch_size=4)(_train)
_task("whole batches", "training", "estimators", batch_size=None)(_train)
_task("whole batches, shared", "training", "estimators", sizes=_WIDE, batch_size=None)(_train)


@_task("weights of wide layers", *PURPOSES)
def _pack(dtype: np.dtype) -> None:
    """Pack weights of more bytes than `fastnn_kernels.vectors.packing.PACKED_BYTES`, as predictions do."""
    from ..engine.arrays import with_packed_weights

    model = Model((2, 600, 600, 3), dtype=dtype, random_state=0)
    with_packed_weights(model._network.layout.plan, model._parameters)


@_task("sparse table", "estimators")
def _fit_sparse(dtype: np.dtype, **settings: Any) -> None:
    import scipy.sparse

    X = scipy.sparse.random_array((N_SAMPLES, 40), density=0.05, format="csr", dtype=dtype, rng=0)
    _fit(X, **settings)


def _fit(X: Any, **settings: Any) -> None:
    """Fit and run classifiers of three and of two classes, and a regressor."""
    from ..estimators.classifier import MLPClassifier
    from ..estimators.regressor import MLPRegressor

    labels = np.arange(N_SAMPLES) % 3
    for kind, y in ((MLPClassifier, labels), (MLPClassifier, labels > 0), (MLPRegressor, labels)):
        estimator = kind(**{"hidden_layer_sizes": (3,), "max_iter": 1, "random_state": 0, **settings})
        estimator.fit(X, y, X_val=X, y_val=y)
        estimator.predict(X)
        if kind is MLPClassifier:
            estimator.predict_proba(X)


@_task("estimators", "estimators")
@_task("estimators, no penalty", "estimators", alpha=0.0)
@_task("estimators, shared", "estimators", hidden_layer_sizes=(400, 400))
@_task("estimators by L-BFGS", "estimators", solver="lbfgs")
def _fit_dense(dtype: np.dtype, **settings: Any) -> None:
    _fit(_samples(dtype), **settings)


_task("sparse table by L-BFGS", "estimators", solver="lbfgs")(_fit_sparse)


@_task("predictions", *PURPOSES)
def _predict(dtype: np.dtype) -> None:
    """Compute predictions and a loss."""
    model, X = Model([2, 3, 3], dtype=dtype, random_state=0), _samples(dtype)
    model.predict(X)
    model.predict_proba(X)
    model.calculate_loss(X, _targets(model.loss))


@_task("encoding of a table", "estimators")
def _encode(dtype: np.dtype) -> None:
    """Encode a table of numbers, in float64 to float32 whatever the dtype of the networks."""
    from ..tables.encoding.encoder import TableEncoder

    TableEncoder().fit_transform(_samples(dtype))


@_task("gradient check", "training")
def _check_gradients(dtype: np.dtype) -> None:
    model = Model([2, 3, 3], dtype=dtype, random_state=0)
    model.check_gradients(_samples(dtype), _targets(model.loss))


@_task("picture of an ensemble", "pictures", method="dense")
@_task("picture of an ensemble by squares", "pictures", method="certified")
def _paint_ensemble(dtype: np.dtype, method: str) -> None:
    """Paint a small picture of an ensemble of two networks."""
    from ..boundary.committee import Committee
    from ..boundary.painters import NetworkPainter

    network = Network.create([2, 3, 3], "tanh", "identity", dtype)
    member = network, network.draw_parameters(np.random.RandomState(0), "tutorial")
    painter = NetworkPainter(Committee([member] * 2, True), np.arange(3), "class", 0, method, "numba")
    # Squares of a single class are not evaluated: the region must be wide enough to contain a boundary.
    xs = np.linspace(-4, 4, 32)
    painter.paint(xs, xs, np.empty((32, 32), painter.dtype), lambda: False)


_task("picture", "pictures", method="dense")(_paint)
for name in RESPONSES:
    _task(f"picture of {name}", "pictures", response=name, method="auto")(_paint)
_task("options of a step", "training", "estimators", clip_norm=1.0, max_norm=1.0, ema_decay=0.9)(_train)
_task("dropout", "training", dropout=0.1)(_train)
_task("batch normalisation", "training", batch_norm=True)(_train)
_task("batch normalisation and dropout", "training", batch_norm=True, dropout=0.1)(_train)
_task("dropout, shared", "training", sizes=_WIDE, dropout=0.1)(_train)
_task("batch normalisation, shared", "training", sizes=_WIDE, batch_norm=True)(_train)
for name in OPTIMIZERS:
    if name == LBFGS.name:
        _task(f"optimizer {name}", "training", optimizer=name, batch_size=None)(_train)
    else:
        _task(f"optimizer {name}", "training", optimizer=name)(_train)
        _task(f"optimizer {name}, no penalty", "training", optimizer=name, reg_lambda=0.0)(_train)
        _task(f"optimizer {name}, l1", "training", optimizer=name, l1=0.1)(_train)


def _train_and_predict(dtype: np.dtype, loss: str) -> None:
    """Train with a loss, and compute predictions and the loss."""
    model = _train(dtype, loss=loss)
    X = _samples(dtype)
    model.predict(X)
    if model.loss.output in ("softmax", "sigmoid"):
        model.predict_proba(X)
    model.calculate_loss(X, _targets(model.loss))


for name in LOSSES:
    _task(f"loss {name}", "training", loss=name)(_train_and_predict)
for name in ACTIVATIONS:
    _task(f"activation {name}", "training", activation=name)(_train)
    _task(f"picture by squares, {name}", "pictures", activation=name)(_paint)
