"""The training loop with its arguments, and the pointers that it receives."""

from __future__ import annotations

import functools
from typing import NamedTuple, get_type_hints

import numpy as np

from ..compiler.entry import FunctionPointer, PointerTable, PythonPointer, UnusedPointer
from ..compiler.kinds import BOOL, FLOAT64, INT64, NONE, UINT32, UINT64, Array, Kind, Struct, get_kinds
from .formulas import backward_pointer, backward_table, forward_table
from .prediction import INDICES, PLAN, REALS, table_kind

# Number of parameters in a block, a whole number of vectors. Sums over the parameters are computed block by
# block, so that they do not depend on the number of threads.
BLOCK = 4096
# Number of parts into which a team of threads divides the units of a layer.
N_PARTS = 2
# Largest number of cache lines in a row of a panel (`vectors.product.panel_width`).
PANEL_LINES = 4
# Distance between two counters of a barrier, in elements: two cache lines, which some processors fetch
# together.
COUNTER_DISTANCE = 16


class Team(NamedTuple):
    """A thread among the `n_threads` that share a step.

    barrier (`n_threads` * `COUNTER_DISTANCE` or more,) int64: equal numbers at the beginning of a call.
    """

    thread: int
    n_threads: int
    barrier: np.ndarray


class Steps(NamedTuple):
    """The steps of a call: it ends after `last` steps since the beginning of the training.

    coefficients (steps, C) of the optimizer have a row for each step from `first` on.
    """

    coefficients: np.ndarray
    first: int
    last: int


class Data(NamedTuple):
    """The samples of a training.

    If batches are gathered (`train_steps`): X (N, I), y (N, Y), weights (N,), and indices (N,) int64, the
    order of the samples. Otherwise X, y and weights are flat arrays of one tile after another, each (I, T),
    (Y, T) and (1, T); weights are multiplied by the scale of the loss and 0 in the padding, and indices are
    not used.

    If `TrainingSettings.by_rows`, the only tile of X is (N, I) instead. X may also be a
    `prediction.SparseTable`; if batches are gathered, `indices` is then the table's array `rows`.
    """

    X: np.ndarray
    y: np.ndarray
    weights: np.ndarray
    indices: np.ndarray


class State(NamedTuple):
    """The arrays that a training updates.

    parameters (P,); optimizer (S, P): state of the optimizer; average (P,), of the parameters, or (0,);
    statistics, flat, of the normalised layers; generator (625,) uint32: the Mersenne Twister that shuffles
    the samples; plateau (2,) float64: the best objective of an epoch, and the number of epochs without
    improvement; gradients (G, P or more) of the shards, 0 between two steps on a sparse table; losses (G,)
    float64 of the shards; squares, float64: sums of squares of the weights at the beginning of a step,
    (P / BLOCK,) for blocks, or (L * N_PARTS,) for parts of layers if threads share units; progress (1,)
    int64: the steps done, written at the end of a call.
    """

    parameters: np.ndarray
    optimizer: np.ndarray
    average: np.ndarray
    statistics: np.ndarray
    generator: np.ndarray
    plateau: np.ndarray
    gradients: np.ndarray
    losses: np.ndarray
    squares: np.ndarray
    progress: np.ndarray


class Workspace(NamedTuple):
    """Workspaces of a training on n threads.

    tiles (n, (I + Y + 1) * T or more), units (n, ..), dunits (n, ..) and scratch (n, ..) have a row for each
    thread; the others are shared. before (P,): parameters before a step; partial (P / BLOCK,) float64: sums
    of squares of the gradient; sums (2, ..): the argument `sums_and_zeros` of `team.team_gradient`; finite
    (n,) int64.
    """

    tiles: np.ndarray
    units: np.ndarray
    dunits: np.ndarray
    scratch: np.ndarray
    before: np.ndarray
    partial: np.ndarray
    sums: np.ndarray
    finite: np.ndarray


class TrainingSettings(NamedTuple):
    """Settings of a training, and numbers that follow from the network; constant during the training."""

    n_samples: int
    n_targets: int
    batch_size: int
    n_batches: int
    shard_size: int  # number of samples of a shard, whole tiles; the last shards may have fewer
    tile_width: int
    by_rows: bool  # True if a batch is one tile with a row per sample (`small_batch`), without padding
    shuffled: bool
    averaged: bool  # True if a batch's loss is divided by the sum of the batch's weights
    common_weight: float  # weight of every sample; 0 if weights differ
    weight_scale: float  # scale of the weights, if every batch is all samples
    of_objective: bool  # True if the L2 penalty is averaged and recorded together with the losses
    loss_share: float  # factor of the losses in the recorded objective, and in the value of L-BFGS
    tol: float  # least decrease of the objective that counts as an improvement
    patience: int  # number of epochs without improvement after which a call ends; 0: no limit
    seed: np.uint64
    steps_before: int  # steps done in earlier trainings
    loss_parameter: float
    dropout: np.ndarray  # (L,) float64: rates
    n_weights: int  # number of regularised parameters, which come first; whole vectors
    reg_lambda: float
    weight_decay: float
    l1: float
    max_norm: float  # 0: no limit
    clip_norm: float  # 0: no limit
    average_weight: float  # 0: no average of the parameters is computed
    record_every: int  # number of epochs from one recorded epoch to the next
    last_pass: int  # number of the last epoch, which is always recorded


class Records(NamedTuple):
    """Measurements of the R recorded epochs, which the training fills.

    losses (R,): sums over the samples; norms (R,) of the gradient in an epoch's last step; ratios (R, L):
    norm of that step's change of a layer's weights, relative to the norm of the weights. All are float64. If
    `TrainingSettings.of_objective`, losses are objectives, and the other two arrays are not written.
    """

    losses: np.ndarray
    norms: np.ndarray
    ratios: np.ndarray


class PassContext(NamedTuple):
    """Arguments of a forward and a backward pass that only a training needs.

    weights (1, T): weights of the samples; statistics, flat: running means, running variances and the last
    inverse deviations of every normalised layer; dropout (L,): dropout rate of the inputs of every layer;
    key: key of this step's random numbers; first: position of the tile's first sample in the batch;
    loss_parameter: parameter of the loss.
    """

    weights: np.ndarray
    statistics: np.ndarray
    dropout: np.ndarray
    key: np.uint64
    first: int
    loss_parameter: float


class Tile(NamedTuple):
    """The samples of a gradient: X (I, T), or its sums if sparse, or X (N, I) by rows; targets y (Y, T)."""

    X: np.ndarray
    y: np.ndarray


class Buffers(NamedTuple):
    """One thread's rows of a `Workspace`, and the gradient that it computes, all flat."""

    units: np.ndarray
    dunits: np.ndarray
    scratch: np.ndarray
    gradient: np.ndarray


# --- pointers --------------------------------------------------------------------------------------


class Functions(NamedTuple):
    """Pointers to the functions of a network and its loss."""

    activate: PointerTable  # `formulas.forward_table`
    differentiate: PointerTable  # `formulas.backward_table`
    loss_backward: FunctionPointer | PythonPointer  # `formulas.backward_pointer`


class GradientPointers(NamedTuple):
    """Pointers to the kernels that compute a gradient."""

    # `gradient.tile_gradient` or `small_batch.small_batch_gradient`; None if threads share units.
    of: FunctionPointer | None
    functions: Functions


def gradient_pointers(
    activations: tuple[str, ...],
    loss_backward: FunctionPointer | PythonPointer,
    batch_norm: bool,
    dropped: bool,
    sparse: bool,
    by_units: bool,
    dtype: np.dtype,
    by_rows: bool = False,
) -> GradientPointers:
    """Return the pointers for a network with these activations, and a loss given by `backward_pointer`.

    batch_norm, dropped, sparse: arguments of `gradient.tile_gradient`. by_units: True if threads share units
    (`team.team_gradient`), which excludes sparse samples; then `of` is None. by_rows: True for
    `small_batch.small_batch_gradient`, which excludes the other four.
    """
    of = None if by_units else _gradient_pointer(batch_norm, dropped, sparse, dtype, by_rows)
    tables = forward_table(activations, dtype), backward_table(activations, dtype)
    return GradientPointers(of, Functions(*tables, loss_backward))


@functools.cache
def _gradient_pointer(
    batch_norm: bool, dropped: bool, sparse: bool, dtype: np.dtype, by_rows: bool
) -> FunctionPointer:
    of = get_kinds(dtype)
    tables = forward_table(("tanh",), dtype), backward_table(("tanh",), dtype)
    functions = Functions(*tables, backward_pointer("squared_error", dtype))
    context = {"weights": of.matrix, "statistics": of.flat, "dropout": REALS, "key": UINT64, "first": INT64}
    context["loss_parameter"] = FLOAT64
    kinds = {
        "functions": Struct(Functions, _pointer_kinds(functions)),
        "plan": PLAN,
        "parameters": of.flat,
        "tile": Struct(Tile, {"X": of.matrix, "y": of.matrix}),
        "context": Struct(PassContext, context),
        "wanted": BOOL,
        "buffers": Struct(Buffers, dict.fromkeys(Buffers._fields, of.flat)),
        "adds": BOOL,
    }
    name, arguments = "small_batch.small_batch_gradient", None
    if not by_rows:
        name, arguments = "gradient.tile_gradient", (batch_norm, dropped, sparse)
    return FunctionPointer(name, arguments, kinds, FLOAT64)


def gradient_kind(pointers: GradientPointers) -> Struct:
    functions = Struct(Functions, _pointer_kinds(pointers.functions))
    return Struct(GradientPointers, {"of": getattr(pointers.of, "kind", NONE), "functions": functions})


OptionPointer = FunctionPointer | UnusedPointer


class Options(NamedTuple):
    """Pointers to what only some steps need; see `find_used_options` for the trainings that use each."""

    gather_by_rows: OptionPointer
    weight_squares: OptionPointer  # `sum_block_squares`, or `team.sum_part_squares` if threads share units
    gradient_norm: OptionPointer
    limit_all_norms: OptionPointer
    update_average: OptionPointer
    record_ratios: OptionPointer


class StepPointers(NamedTuple):
    """Pointers that a step calls."""

    gradients_of: GradientPointers
    update: FunctionPointer  # `formulas.update_pointer`
    options: Options


def find_used_options(settings: TrainingSettings, gathered: bool) -> tuple[str, ...]:
    """Return the names of the options that a training with these `TrainingSettings` uses.

    gathered: True if the samples of each batch are gathered from the table.
    """
    is_used = {
        "gather_by_rows": gathered and settings.by_rows,
        "weight_squares": settings.of_objective and settings.reg_lambda > 0,
        "gradient_norm": not settings.of_objective or settings.clip_norm > 0,
        "limit_all_norms": settings.max_norm > 0,
        "update_average": settings.average_weight > 0,
        "record_ratios": not settings.of_objective,
    }
    return tuple(name for name in Options._fields if is_used[name])  # KeyError for an option left out above


@functools.cache
def option_pointers(used: tuple[str, ...], by_units: bool, dtype: np.dtype) -> Options:
    """Return the pointers of all options; an option that is not `used`, a field by name, has no kernel.

    by_units: True if threads share units.
    """
    of, thread = get_kinds(dtype), {"thread": INT64, "n_threads": INT64}
    network = {"plan": PLAN, "parameters": of.flat}
    samples = {"X": of.inputs, "y": of.inputs, "indices": INDICES, "first": INT64, "n": INT64}
    kinds: dict[str, dict[str, Kind]] = {
        "gather_by_rows": {**samples, "rows": of.matrix, "tile": of.matrix},
        "weight_squares": {**network, "n_weights": INT64, **thread, "squares": REALS},
        "gradient_norm": {
            "gradients": of.matrix,
            "size": INT64,
            **thread,
            "barrier": INDICES,
            "partial": REALS,
        },
        "limit_all_norms": {**network, "limit": FLOAT64},
        "update_average": {"parameters": of.flat, "weight": FLOAT64, **thread, "average": of.flat},
        "record_ratios": {**network, "before": of.flat, "record": INT64, "ratios": Array(FLOAT64, 2)},
    }
    functions = {name: f"options.{name}" for name in kinds}
    functions["weight_squares"] = "team.sum_part_squares" if by_units else "options.sum_block_squares"
    pointers = {}
    for name, arguments in kinds.items():
        pointer = FunctionPointer(
            functions[name], None, arguments, FLOAT64 if name == "gradient_norm" else NONE
        )
        pointers[name] = pointer if name in used else UnusedPointer(pointer)
    return Options(**pointers)


def _pointer_kinds(pointers: NamedTuple) -> dict[str, Kind]:
    """Return the kinds of pointers by name, and of None."""
    return {name: getattr(pointer, "kind", NONE) for name, pointer in pointers._asdict().items()}


TEAM = Struct(Team, {"thread": INT64, "n_threads": INT64, "barrier": INDICES})
# Kinds of the settings, by their annotations.
SETTING_KINDS = {int: INT64, float: FLOAT64, bool: BOOL, np.uint64: UINT64, np.ndarray: REALS}


@functools.cache
def training_kinds(gathered: bool, sparse: bool, dtype: np.dtype) -> dict[str, Kind]:
    """Return the kinds of the arguments data, settings, records and work, by name."""
    of = get_kinds(dtype)
    data: dict[str, Kind] = {"X": of.flat, "y": of.flat, "weights": of.flat, "indices": INDICES}
    if gathered:
        data |= {"X": of.inputs, "y": of.inputs, "weights": REALS}
    if sparse:
        data["X"] = table_kind(dtype)
    settings = {name: SETTING_KINDS[kind] for name, kind in get_type_hints(TrainingSettings).items()}
    work = dict.fromkeys(Workspace._fields, of.matrix)
    work |= {"before": of.flat, "partial": REALS, "finite": INDICES}
    return {
        "data": Struct(Data, data),
        "settings": Struct(TrainingSettings, settings),
        "records": Struct(Records, {"losses": REALS, "norms": REALS, "ratios": Array(FLOAT64, 2)}),
        "work": Struct(Workspace, work),
    }


@functools.lru_cache(256)
def training_loop(
    gathered: bool, by_units: bool, sparse: bool, dtype: np.dtype, pointers: StepPointers
) -> FunctionPointer:
    """Return the pointer to the kernel `train.train_steps`.

    See `train_steps` for the first three arguments. Pointers of the same kinds share a loop.
    """
    kinds = {
        "gradients_of": gradient_kind(pointers.gradients_of),
        "update": pointers.update.kind,
        "options": Struct(Options, _pointer_kinds(pointers.options)),
    }
    return _training_loop(gathered, by_units, sparse, dtype, Struct(StepPointers, kinds))


@functools.cache
def _training_loop(
    gathered: bool, by_units: bool, sparse: bool, dtype: np.dtype, pointers: Struct
) -> FunctionPointer:
    """Return the pointer of `training_loop` for pointers of this kind."""
    of = get_kinds(dtype)
    state = dict.fromkeys(State._fields, of.flat) | {
        "optimizer": of.matrix,
        "gradients": of.matrix,
        "generator": Array(UINT32, 1),
        **dict.fromkeys(("plateau", "losses", "squares"), REALS),
        "progress": INDICES,
    }
    kinds = {
        "team": TEAM,
        "pointers": pointers,
        "plan": PLAN,
        "state": Struct(State, state),
        **training_kinds(gathered, sparse, dtype),
        "steps": Struct(Steps, {"coefficients": of.matrix, "first": INT64, "last": INT64}),
    }
    return FunctionPointer("train.train_steps", (gathered, by_units, sparse), kinds, BOOL)
