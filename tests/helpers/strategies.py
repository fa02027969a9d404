"""Strategies of the property-based tests: sizes, dtypes, and arrays in the kernels' layout.

Kernels hold a unit per row and a sample per column, the reference a sample per row: ``array.T`` of one is
the other.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from hypothesis import strategies as st

from fastnn import losses, optimizers
from fastnn.network.description import ALIGNMENT, Network
from fastnn.reference.layer import ACTIVATIONS

DTYPES = (np.dtype(np.float64), np.dtype(np.float32))

dtypes = st.sampled_from(DTYPES)
# Widths: one, odd and even ones, some beyond a register block, a few beyond a chunk of terms.
widths = st.one_of(st.integers(1, 13), st.sampled_from([1, 4, 5, 16, 33, 70, 131]))
# Numbers of samples, 0 included. A tile holds whole vectors: padding follows the samples.
counts = st.one_of(st.integers(0, 40), st.sampled_from([1, 64, 129, 512, 1000]))
seeds = st.integers(0, 2**32 - 1)
keys = st.integers(0, 2**64 - 1)


def padded(count: int, dtype: np.dtype) -> int:
    """Return the columns of the smallest tile of whole vectors that holds `count` samples."""
    lanes = ALIGNMENT // dtype.itemsize
    return -(-count // lanes) * lanes


@dataclass
class Draw:
    dtype: np.dtype
    random: np.random.Generator
    scale: float

    def array(self, *shape: int) -> np.ndarray:
        """Return normally distributed numbers times `scale`."""
        return (self.scale * self.random.standard_normal(shape)).astype(self.dtype)

    def labels(self, n_classes: int, count: int) -> np.ndarray:
        return self.random.integers(0, n_classes, count)

    def weights(self, count: int) -> np.ndarray:
        """Return a tile's weights (1, T): some samples have weight 0, and so has the padding."""
        weights = np.zeros((1, self.padded(count)), self.dtype)
        weights[0, :count] = self.random.uniform(0.1, 3, count) * (self.random.random(count) < 0.8)
        return weights

    def padded(self, count: int) -> int:
        return padded(count, self.dtype)


draws = st.builds(Draw, dtypes, seeds.map(np.random.default_rng), st.sampled_from([1e-3, 0.3, 1, 10, 300]))


def tolerance(dtype: np.dtype, terms: float = 1) -> float:
    """Return a bound on the relative error of a sum of `terms` products in any order."""
    return float(np.finfo(dtype).eps) * (4 + terms)


def wide(array: np.ndarray) -> np.ndarray:
    return array.astype(np.float64)


def untouched(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """Return an output buffer filled with NaN, which stays wherever a kernel forgets to write."""
    return np.full(shape, np.nan, dtype)


def read_only(array: np.ndarray) -> np.ndarray:
    array = array.view()
    array.flags.writeable = False
    return array


class Windows:
    """Output buffers side by side in one flat vector, as gradients are, with marks around each.

    A kernel that writes beyond a buffer changes a mark or another buffer.
    """

    MARK = 12345.0
    GAP = 40  # more than two vectors

    def __init__(self, *arrays: np.ndarray) -> None:
        dtype = arrays[0].dtype
        self._flat = np.full(sum(a.size for a in arrays) + self.GAP * (len(arrays) + 1), self.MARK, dtype)
        self._is_mark = np.ones(self._flat.size, bool)
        self.views: list[np.ndarray] = []
        position = self.GAP
        for array in arrays:
            part = slice(position, position + array.size)
            self._is_mark[part] = False
            self._flat[part] = array.ravel()
            self.views.append(self._flat[part].reshape(array.shape))
            position += array.size + self.GAP

    def are_kept_apart(self) -> bool:
        return bool((self._flat[self._is_mark] == self.MARK).all())


class Recipe(NamedTuple):
    """Activations, output, loss, optimizer, dtype and switches of a training.

    A recipe whose derivative jumps is in float64, where rounding never decides on which side a value lies.
    An optimizer that divides by a number that may be 0 has a large eps, which keeps rounding errors small.
    """

    hidden: tuple[str, ...]  # activations of the first hidden layers
    output: str
    loss: Any
    optimizer: Any
    dtype: np.dtype
    gathered: bool = False  # True for minibatches
    batch_norm: bool = False
    dropped: bool = False  # True for dropout


F64, F32 = DTYPES
# Activations of further hidden layers. In float32, rounding might cross a kink: these activations have none.
HIDDEN = {F64: sorted(ACTIVATIONS), F32: sorted(name for name, one in ACTIVATIONS.items() if not one.kinks)}
# Recipes that cover every pair of switches in few combinations, each of which takes seconds to compile.
# `others` yields recipes for the names that are missing here.
LISTED = (
    Recipe(("tanh",), "tanh", losses.SoftmaxCrossEntropy(), optimizers.SGD(), F64),
    Recipe(("tanh",), "tanh", losses.SoftmaxCrossEntropy(0.1), optimizers.Adam(eps=0.1), F32, True),
    Recipe(
        ("gelu",),
        "identity",
        losses.SquaredError(),
        optimizers.AdamW(eps=1e-2, weight_decay=0.1),
        F64,
        *[True] * 3,
    ),
    Recipe(
        ("silu", "softplus"),
        "tanh",
        losses.Poisson(),
        optimizers.RMSprop(0.9, eps=0.1, momentum=0.5),
        F32,
        dropped=True,
    ),
    Recipe(
        ("elu",), "identity", losses.MulticlassHinge(), optimizers.Momentum(0.8, 0.1, 0.01), F64, True, True
    ),
    Recipe(("relu",), "sigmoid", losses.AbsoluteError(), optimizers.Nesterov(0.8), F64),
    Recipe(("leaky_relu",), "identity", losses.Huber(0.5), optimizers.Adagrad(0.1, eps=0.1), F64, True),
    Recipe(
        ("sigmoid",),
        "identity",
        losses.SigmoidBinaryCrossEntropy(),
        optimizers.SGD(weight_decay=0.1),
        F32,
        batch_norm=True,
    ),
    Recipe(("selu",), "identity", losses.Quantile(0.3), optimizers.Momentum(), F64, *[True] * 3),
)


def others() -> Iterator[Recipe]:
    """Yield a recipe for every activation, loss and optimizer that is missing in `LISTED`."""
    names = {name for recipe in LISTED for name in (*recipe.hidden, recipe.output)}
    for name in ACTIVATIONS:
        if name not in names:
            yield Recipe((name,), "identity", losses.SquaredError(), optimizers.SGD(), F64)
    for name in losses.LOSSES.keys() - {recipe.loss.name for recipe in LISTED}:
        yield Recipe(("tanh",), "identity", losses.LOSSES[name](), optimizers.SGD(), F64)
    unlisted = {*optimizers.STEPPING} - {recipe.optimizer.name for recipe in LISTED}
    for position, name in enumerate(sorted(unlisted)):
        hidden = ("tanh",) * (2 + position)  # deeper than the networks of `LISTED`
        yield Recipe(hidden, "tanh", losses.SoftmaxCrossEntropy(), optimizers.OPTIMIZERS[name](), F64)


# Recipes with every registered activation, loss and optimizer.
RECIPES = (*LISTED, *others())
recipes = st.sampled_from(RECIPES)


@st.composite
def networks(draw, recipes=recipes, least_inputs: int = 1, most_inputs: int = 9) -> Network:
    """Return a network of one of the recipes, of any depth and widths."""
    recipe = draw(recipes)
    least = len(recipe.hidden)
    n_hidden = draw(st.integers(least, least + 2))
    n_inputs = draw(st.integers(least_inputs, most_inputs))
    dims = (n_inputs, *(draw(st.integers(1, 9)) for _ in range(n_hidden + 1)))
    chosen = [draw(st.sampled_from(HIDDEN[recipe.dtype])) for _ in range(n_hidden - least)]
    rates: tuple[float, ...] = ()
    if recipe.dropped:
        rates = tuple(draw(st.sampled_from([0.0, 0.2, 0.5, 0.9])) for _ in range(n_hidden + 1))
        if not any(rates):
            rates = (0.25, *rates[1:])
    return Network(
        dims, (*recipe.hidden, *chosen, recipe.output), recipe.dtype, recipe.loss, recipe.batch_norm, rates
    )


def targets(loss: Any, n_outputs: int, n: int, dtype: np.dtype, random: np.random.Generator) -> np.ndarray:
    """Return a table of targets (n, Y) that suits the loss, in the form that backends take."""
    if loss.of_labels:
        return random.integers(0, n_outputs, (n, 1)).astype(dtype)
    lowest, highest = loss.bounds
    y = random.normal(size=(n, n_outputs))
    if lowest is not None:
        y = random.random(y.shape) if highest is not None else random.poisson(2, y.shape)
    return y.astype(dtype)


def sample_weights(count: int, random: np.random.Generator) -> np.ndarray:
    return random.uniform(0.1, 3, count) * (random.random(count) < 0.8)


# Methods that return views of the flat parameter vector.
PARTS = (Network.weights, Network.biases, Network.scales, Network.shifts)


def is_padding(network: Network) -> np.ndarray:
    mask = np.ones(network.n_parameters, bool)
    for part in PARTS:
        for view in part(network, mask):
            if view is not None:
                view[...] = False
    return mask


def name_of(value: object) -> str:
    """Return the repr of a value without addresses in memory: every process gives a test the same name."""
    return re.sub(r" at 0x\w+", "", repr(value))
