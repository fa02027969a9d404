"""Frames: what the page draws of a training at one step, computed by the library's own kernels and packed.

A binary message is the length of a header in 4 bytes, the header as JSON, padded by spaces to a multiple of 8
bytes, and arrays one after the other, each of which begins at a multiple of 8 bytes.

`Artist.draw` names what every frame holds, and `Artist.first` what only the first frame of a run holds;
`Run._draw` adds what the training does, and new points of the curves. The page reads them as ``frame.NAME``
and ``frame.arrays.NAME``: `draw` in ``static/main.js`` passes a frame to what shows it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..boundary.render import render_boundary
from ..boundary.view import centres
from ..engine import get_backend
from ..engine.numpy_passes import NumpyPasses
from ..engine.predictor import label_positive
from ..model import Model
from ..reference.layer import ACTIVATIONS
from ..reference.loss import loss_backward, loss_value
from ..reference.output import output_forward
from ..training.loop import Training
from .fields import declare, list_fields
from .learning_problem import LearningProblem
from .next_step import next_step
from .settings import MAX_SAMPLES

Array = NDArray[Any]

# Largest numbers of pixels along the sides of the two kinds of pictures.
MAX_PIXELS, MAX_UNIT_PIXELS = 1024, 128
# Probability from which on the page does not tell that the outputs allow no larger one.
NEAR_ONE = 0.995
# Number of sizes of pictures whose lattices are kept: the sizes of a view, and of its sketch.
N_SIZES = 4
# Pixels along the sides of the large picture while the network changes. A screen has more, which would take
# longer to draw and to send. Largest numbers of multiplications for that picture, and for one of a network
# that rests; largest number of pixels of all units together.
MOVING_PIXELS, MOVING_OPERATIONS, RESTING_OPERATIONS = 256, 150_000_000, 8_000_000_000
UNIT_PIXELS = 1 << 17
# Number of multiplications of a picture from which several threads are faster than one.
PARALLEL_OPERATIONS = 50_000_000
# Pixels along the sides of a picture of classes up to which every pixel is evaluated. Bounds of squares pay
# in larger pictures; the pictures of a large network are sketched with few pixels.
MAX_DENSE_PIXELS = 64


@dataclass(frozen=True)
class PageView:
    """The view that a page asks for: content and sizes of the pictures."""

    mode: str = declare(
        "choice", "classes", "content of the large picture", values={"classes": {}, "probability": {}}
    )
    resolution: int = declare("integer", 256, "pixels along the sides of the large picture", 1, MAX_PIXELS)
    unit_resolution: int = declare("integer", 32, "pixels along a unit's picture", 1, MAX_UNIT_PIXELS)
    sample: int | None = declare("integer", None, "sample that is followed", 0, MAX_SAMPLES, optional=True)
    shapes: bool = declare("flag", False, "show classes by markers too, in saved pictures as on the page")

    def change(self, message: Mapping[str, Any]) -> PageView:
        """Return the view with the changes that a message names; RequestError if out of range."""
        given = {name: each.check(name, message[name]) for name, each in VIEW.items() if name in message}
        return replace(self, **given)


VIEW = list_fields(PageView)


@dataclass(frozen=True)
class Snapshot:
    """Copy of a network during its training."""

    step: int  # number of whole steps done
    epoch: int
    parameters: Array  # flat vectors
    statistics: Array


class Artist:
    """Computation of what frames show of one problem's network; the model's parameters are not used."""

    def __init__(self, problem: LearningProblem, model: Model) -> None:
        self._problem, self._network = problem, model._network
        self._backend = get_backend(model.backend)
        # All samples, and the rows of the training and the test data among them.
        self._X, self._y = model._check(problem.features(problem.X), problem.y)
        self._subsets = problem.train, problem.test
        # Units are drawn by passes over copies of a snapshot, so that their buffers serve all frames.
        self._drawn = model._parameters.copy(), model._statistics.copy()
        self._passes = self._backend.passes(self._network, *self._drawn, frozen=True)
        self._points: dict[int, Array] = {}
        self.target_limits = (float(problem.y.min()), float(problem.y.max()))

    def sketch(self, view: PageView) -> PageView:
        """Return the view with pictures that are drawn fast, while the network changes."""
        n_units, unit_size = sum(self._network.layers_dim[1:-1]), view.unit_resolution
        while unit_size > 1 and n_units * unit_size**2 > UNIT_PIXELS:
            unit_size //= 2
        size = self._limit_size(min(view.resolution, MOVING_PIXELS), MOVING_OPERATIONS)
        return replace(view, resolution=size, unit_resolution=unit_size)

    def refine(self, view: PageView) -> PageView:
        """Return the view of a network that rests, with fewer pixels than wanted only if it is large."""
        return replace(view, resolution=self._limit_size(view.resolution, RESTING_OPERATIONS))

    def _limit_size(self, size: int, most: int) -> int:
        """Return the pixels along the sides of a picture that takes at most `most` multiplications."""
        while size > 1 and self._network.n_weights * size**2 > most:
            size //= 2
        return size

    def measure(self, parameters: Array, statistics: Array) -> tuple[list[float], list[float]]:
        """Return losses and scores (fraction correct, or R^2) of training and test data, NaN without."""
        network, folded = self._network, self._network.fold_batch_norm(parameters, statistics)
        losses, scores = [np.nan, np.nan], [np.nan, np.nan]
        outputs = self._backend.outputs(network, folded, self._X, "identity", warns=False)
        for k, rows in enumerate(self._subsets):
            if len(rows):
                S, y = outputs[rows], self._y[rows]
                target = y[:, 0].astype(np.int64) if network.loss.of_labels else y
                weights = np.full(len(y), 1 / len(y))
                losses[k] = loss_value(network.loss.name, S, target, weights, network.loss.parameter)
                scores[k] = self._score(S, y)
        return losses, scores

    def _score(self, S: Array, y: Array) -> float:
        """Return the fraction of correct classes, or the coefficient of determination, of scores (n, k)."""
        loss = self._network.loss
        if loss.of_labels:
            return float(np.mean(S.argmax(axis=1) == y[:, 0]))
        if loss.output == "sigmoid":
            return float(np.mean(label_positive(S) == y))
        total = np.sum((y - y.mean()) ** 2)
        return float(1 - np.sum((y - output_forward(loss.output, S)) ** 2) / total) if total else np.nan

    def draw(
        self, snapshot: Snapshot, view: PageView, resting: Training | None = None
    ) -> tuple[dict[str, Any], dict[str, Array]]:
        """Compute a frame's header and arrays, with the next step's numbers if a training rests at it."""
        network = self._network
        folded = network.fold_batch_norm(snapshot.parameters, snapshot.statistics)
        losses, scores = self.measure(snapshot.parameters, snapshot.statistics)
        units, unit_ranges = self._units(snapshot, view.unit_resolution)
        header: dict[str, Any] = {
            "step": snapshot.step,
            "epoch": snapshot.epoch,
            "loss": [_make_json_number(loss) for loss in losses],
            "score": [_make_json_number(score) for score in scores],
            "mode": view.mode,
            "unit_ranges": unit_ranges,
        }
        arrays = self._boundary(snapshot, folded, view)
        arrays["units"] = units
        arrays["weights"] = snapshot.parameters.astype(np.float32)
        if view.sample is not None and view.sample < len(self._X):
            header["sample"], more = self._sample(snapshot, view.sample)
            arrays |= more
            if resting is not None and not resting.is_minimisation:  # whose steps are searched for
                header["update"], more = next_step(network, resting)
                arrays |= more
        return header, arrays

    def _boundary(self, snapshot: Snapshot, folded: Array, view: PageView) -> dict[str, Array]:
        """Return the large picture: classes, a probability, or the values of a regression."""
        problem, size = self._problem, view.resolution
        left, right, bottom, top = problem.limits
        if problem.kind == "regression":
            low, high = self.target_limits
            values = self._backend.outputs(
                self._network, folded, self._lattice(size), self._network.loss.output, warns=False
            )
            return {"boundary": _to_bytes(values.reshape(size, size), low, max(high - low, 1e-12))}
        model = problem.over_plane(Model._share(self._network, snapshot.parameters, snapshot.statistics))

        is_large = self._network.n_weights * size**2 >= PARALLEL_OPERATIONS

        def picture(response: str) -> Array:
            has_bounds = response == "class" and not problem.has_computed_features
            method = "certified" if has_bounds and size > MAX_DENSE_PIXELS else "dense"
            how: dict[str, Any] = {"method": method, "n_threads": None if is_large else 1}
            sides = (left, right), (bottom, top), (size, size)
            image = render_boundary(model, *sides, response=response, **how)
            assert image.data is not None
            return image.data[::-1]

        if view.mode == "classes":
            return {"boundary": picture("class")}
        assert problem.classes is not None
        if len(problem.classes) == 2:
            return {"boundary": _to_bytes(picture("probability"), 0.0, 1.0)}
        return {"boundary": picture("class"), "confidence": _to_bytes(picture("confidence"), 0.0, 1.0)}

    def _lattice(self, size: int) -> Array:
        """Return the network's inputs (size^2, n_inputs) at the pixels of a picture from the top row down."""
        if size not in self._points:
            if len(self._points) == N_SIZES:
                self._points.clear()
            left, right, bottom, top = self._problem.limits
            points = make_pixel_centres((left, right), (top, bottom), size)
            self._points[size] = self._problem.features(points).astype(self._network.dtype)
        return self._points[size]

    def _units(self, snapshot: Snapshot, size: int) -> tuple[NDArray[np.uint8], list[tuple[float, float]]]:
        """Return the pictures (n_units, size, size) of all hidden units, and their ranges of values."""
        self._drawn[0][...], self._drawn[1][...] = snapshot.parameters, snapshot.statistics
        *hidden, _ = self._passes.layer_outputs(self._lattice(size))
        pictures, ranges = [np.empty((0, size, size), np.uint8)], []
        for activation, values in zip(self._network.activations, hidden, strict=False):
            drawn, own_ranges = _draw_units(activation, values, size)
            pictures.append(drawn)
            ranges += own_ranges
        return np.concatenate(pictures), ranges

    @property
    def max_probability(self) -> float | None:
        """Largest probability that the outputs allow; None where it comes near 1, and without classes."""
        network = self._network
        if network.loss.output not in ("softmax", "sigmoid"):
            return None
        with np.errstate(all="ignore"):
            low, high = np.sort(ACTIVATIONS[network.activations[-1]].value(np.array([-1e3, 1e3])))
            scores = np.full((1, network.layers_dim[-1]), low)
            scores[0, 0] = high
            largest = float(output_forward(network.loss.output, scores)[0, 0])
        return largest if largest < NEAR_ONE else None

    def first(self, view: PageView) -> tuple[dict[str, Any], dict[str, Array]]:
        """Return what only the first frame of a run holds: the samples, and pictures of the inputs."""
        problem, size = self._problem, view.unit_resolution
        inputs, ranges = _draw_units("identity", self._lattice(size), size)
        arrays: dict[str, Array] = {
            "points": problem.X.astype(np.float32),
            "is_test": np.isin(np.arange(len(problem.y)), problem.test).astype(np.uint8),
            "inputs": inputs,
        }
        if problem.kind == "classes":
            arrays["labels"] = problem.y.astype(np.int32)
        else:
            arrays["targets"] = problem.y.astype(np.float32)
        return {"input_ranges": ranges}, arrays

    def _sample(self, snapshot: Snapshot, number: int) -> tuple[dict[str, Any], dict[str, Array]]:
        """Return a sample's way through the network and back: sums, activations and derivatives."""
        network = self._network
        x, y = self._X[number : number + 1], self._y[number : number + 1]
        passes = NumpyPasses(network, snapshot.parameters, snapshot.statistics, frozen=True)
        scores = passes.forward(x)
        arrays = {"sample.x": x, "sample.p": output_forward(network.loss.output, scores)}
        target = y[:, 0].astype(np.int64) if network.loss.of_labels else y
        arguments = network.loss.name, scores, target, np.ones(1), network.loss.parameter
        loss = float(loss_value(*arguments))
        passes.backward(loss_backward(*arguments), adds=False, inputs=True, parameters=False)
        for k, (affine, activation) in enumerate(zip(passes.chain[::2], passes.chain[1::2], strict=True)):
            arrays[f"sample.z.{k}"], arrays[f"sample.a.{k}"] = activation.Z, activation.A
            arrays[f"sample.d.{k}"] = affine.db  # by the bias, which of one sample is that by the sum
        header = {"index": number, "target": float(y[0, 0]), "loss": _make_json_number(loss)}
        return header, {name: array.ravel().astype(np.float32) for name, array in arrays.items()}


def make_pixel_centres(x: tuple[float, float], y: tuple[float, float], size: int) -> NDArray[np.float64]:
    """Return the centres (size^2, 2) of a square picture's pixels by its edges, row by row."""
    columns, rows = (centres(edges, size).points(0, size) for edges in (x, y))
    return np.stack(np.meshgrid(columns, rows), axis=-1).reshape(-1, 2)


def _draw_units(
    activation: str, values: Array, size: int
) -> tuple[NDArray[np.uint8], list[tuple[float, float]]]:
    """Return pictures (n_units, size, size) of values, and ranges, about 0 where a unit takes both signs."""
    with np.errstate(all="ignore"):
        ends = ACTIVATIONS[activation].value(np.array([-1e3, 1e3]))
    if np.isfinite(ends).all() and np.abs(ends).max() <= 1:  # bounded: all units share the range
        high = np.ones(values.shape[1])
        low = high * (-1.0 if ends.min() < 0 else 0.0)
    else:
        high = np.max(np.abs(values), axis=0, initial=0.0, where=np.isfinite(values)).astype(np.float64)
        high[high == 0] = 1.0
        low = np.where(values.min(axis=0) < 0, -high, 0.0)
    pictures = _to_bytes(values, low, high - low).T.reshape(-1, size, size)
    return pictures, list(zip(low.tolist(), high.tolist(), strict=True))


def _to_bytes(values: Array, low: Any, width: Any) -> NDArray[np.uint8]:
    """Return values from `low` to ``low + width`` as bytes from 0 to 255, clipped; NaN becomes 0."""
    with np.errstate(all="ignore"):
        scaled = (values - low) * (255.0 / width)
        return np.clip(np.nan_to_num(scaled, nan=0.0), 0, 255).round().astype(np.uint8)


def _make_json_number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def pack(header: Mapping[str, Any], arrays: Mapping[str, Array]) -> bytes:
    """Return a header and arrays as one binary message; the page reads only bytes, int32 and float32."""
    places, chunks, at = {}, [], 0
    for name, array in arrays.items():
        array = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
        kind = f"{array.dtype.kind}{array.dtype.itemsize}"
        places[name] = [at, kind, list(array.shape)]
        data = array.tobytes()
        data += b"\0" * (-len(data) % 8)
        chunks.append(data)
        at += len(data)
    text = json.dumps({**header, "arrays": places}, separators=(",", ":"), allow_nan=False).encode()
    text += b" " * (-(4 + len(text)) % 8)
    return b"".join([len(text).to_bytes(4, "little"), text, *chunks])
