"""Frames: what the page draws of a training at one step, computed by the library's own kernels and packed.

A binary message is the length of a header in 4 bytes, the header as JSON, padded by spaces to a multiple of 8
bytes, and arrays one after the other, each of which begins at a multiple of 8 bytes.

`Artist.draw` names what every frame holds, and `Artist.first` what only the first frame of a run holds;
`Run._send_frame` adds new points of the curves. The page reads them as ``frame.NAME`` and
``frame.arrays.NAME``: `draw` in ``static/main.js`` passes a frame to what shows it.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..boundary.render import centres, render_boundary
from ..engine.choice import get_backend
from ..engine.predictor import positive
from ..model import Model
from ..network.description import Network, aligned_empty
from ..reference.layer import ACTIVATIONS, activation_backward, activation_forward
from ..reference.loss import loss_backward, loss_value
from ..reference.output import output_forward
from ..schedules import resolve_schedule
from ..system.validation import check_choice, check_count, check_flag, shown
from .fields import RequestError
from .next_step import Rest, next_step
from .problem import LearningProblem

__all__ = ["Artist", "Measurement", "Snapshot", "View", "packed", "pixel_centres"]

Array = NDArray[Any]

MODES = ("classes", "probability")
# Largest numbers of pixels along the sides of the two kinds of pictures.
MAX_PIXELS, MAX_UNIT_PIXELS = 1024, 128
# Number of sizes of pictures whose lattices are kept: those of a view, and of its sketch.
N_SIZES = 4
# Largest number of multiplications for the large picture of a sketch, and of pixels of all units together.
SKETCH_OPERATIONS, SKETCH_PIXELS = 150_000_000, 1 << 17
# Seconds of a picture by "dense" painting from which "certified" painting is tried, and the number of
# pictures after which the slower of the two is tried again: the boundary may have become simpler.
WORTHWHILE_SECONDS, RACE_PICTURES = 0.004, 64


@dataclass(frozen=True)
class View:
    """The view that a page asks for: content and sizes of the pictures.

    Parameters
    ----------
    mode : {"classes", "probability"}
        Content of the large picture.
    resolution, unit_resolution : int
        Pixels along the sides of the large picture, and of the units' pictures.
    sample : int or None
        Number of the sample whose activations are shown.
    shapes : bool
        Show classes by markers too, in saved pictures as on the page.
    """

    mode: str = "classes"
    resolution: int = 256
    unit_resolution: int = 32
    sample: int | None = None
    shapes: bool = False

    @property
    def response(self) -> str:
        """Response of `render_boundary` that the view shows of two classes."""
        return "class" if self.mode == "classes" else "probability"

    def changed(self, message: Mapping[str, Any]) -> View:
        """Return the view with the changes that a message names; RequestError if out of range."""
        given = {name: message[name] for name in vars(self) if name in message}
        view = replace(self, **given)
        try:
            check_choice(view.mode, "mode", MODES)
            for name, most in (("resolution", MAX_PIXELS), ("unit_resolution", MAX_UNIT_PIXELS)):
                value = getattr(view, name)
                if check_count(value, name, 1) > most:
                    raise ValueError(f"{name} must be at most {most}, got {shown(value)}")
            if view.sample is not None:
                check_count(view.sample, "sample")
            check_flag(view.shapes, "shapes")
        except ValueError as error:
            raise RequestError(None, str(error)) from None
        return view


@dataclass(frozen=True)
class Measurement:
    """Losses and scores of training and test data, NaN without samples.

    A score is the fraction of correct classes, or the coefficient of determination of a regression.
    """

    train_loss: float
    test_loss: float
    train_score: float
    test_score: float


@dataclass(frozen=True)
class Snapshot:
    """Copy of a network during its training.

    Parameters
    ----------
    step, epoch : int
        Numbers of whole steps and epochs done.
    parameters, statistics : array
        Flat vectors of the parameters and of the running statistics.
    playing : bool
        True if the training continues by itself.
    steps_per_second : float
        Speed of the training.
    rest : Rest, optional
        What the next step begins from, if the training rests.
    """

    step: int
    epoch: int
    parameters: Array
    statistics: Array
    playing: bool = False
    steps_per_second: float = 0.0
    rest: Rest | None = None


class Artist:
    """Computation of what frames show of one problem's network.

    Parameters
    ----------
    problem : LearningProblem
        Samples and settings.
    model : Model
        Model of the problem, whose parameters are not used.
    """

    def __init__(self, problem: LearningProblem, model: Model) -> None:
        self._problem, self._network = problem, model._network
        self._backend = get_backend(model.backend)
        self._subsets = []
        for X, y in (problem.training_data, problem.test_data):
            self._subsets.append((*model._check(X, y), np.full(len(y), 1 / len(y))) if len(y) else None)
        self._X, self._y = model._check(problem.features(problem.X), problem.y)
        network = self._network
        # Each hidden layer as a network of its own computes the outputs of its units from those before it.
        self._hidden = [
            Network(network.layers_dim[n : n + 2], network.activations[n : n + 1], network.dtype)
            for n in range(len(network.layers_dim) - 2)
        ]
        self._points: dict[int, Array] = {}
        self._seconds: dict[int, dict[str, float]] = {}  # of the last picture of a size by each method
        self._n_pictures = 0
        self.target_limits = (float(problem.y.min()), float(problem.y.max()))
        self.schedule = resolve_schedule(problem.train_arguments.get("schedule", "constant"))

    def sketch(self, view: View) -> View:
        """Return the view with pictures that are drawn fast: coarser ones of a large network."""
        n_weights, n_units = self._network.n_weights, sum(self._network.layers_dim[1:-1])
        size, unit_size = view.resolution, view.unit_resolution
        while size > 1 and n_weights * size**2 > SKETCH_OPERATIONS:
            size //= 2
        while unit_size > 1 and n_units * unit_size**2 > SKETCH_PIXELS:
            unit_size //= 2
        return replace(view, resolution=size, unit_resolution=unit_size)

    def measure(self, parameters: Array, statistics: Array) -> Measurement:
        """Return losses and scores of training and test data."""
        network, folded = self._network, self._network.folded(parameters, statistics)
        losses, scores = [np.nan, np.nan], [np.nan, np.nan]
        for k, subset in enumerate(self._subsets):
            if subset is not None:
                X, y, weights = subset
                S = self._backend.outputs(network, folded, X, "identity", 1, warns=False)
                target = y[:, 0].astype(np.int64) if network.loss.of_labels else y
                losses[k] = loss_value(network.loss.name, S, target, weights, network.loss.parameter)
                scores[k] = self._score(S, y)
        return Measurement(*losses, *scores)

    def _score(self, S: Array, y: Array) -> float:
        """Return the fraction of correct classes, or the coefficient of determination, of scores (n, k)."""
        loss = self._network.loss
        if loss.of_labels:
            return float(np.mean(S.argmax(axis=1) == y[:, 0]))
        if loss.output == "sigmoid":
            return float(np.mean(positive(S) == y))
        total = np.sum((y - y.mean()) ** 2)
        return float(1 - np.sum((y - output_forward(loss.output, S)) ** 2) / total) if total else np.nan

    def draw(
        self, snapshot: Snapshot, view: View, run: int = 0, frame: int = 0
    ) -> tuple[dict[str, Any], dict[str, Array]]:
        """Compute a frame; return its header, to which `packed` adds the arrays' places, and the arrays."""
        network, folded = self._network, self._network.folded(snapshot.parameters, snapshot.statistics)
        measured = self.measure(snapshot.parameters, snapshot.statistics)
        units, unit_ranges = self._units(folded, view.unit_resolution)
        header: dict[str, Any] = {
            "run": run,
            "frame": frame,
            "step": snapshot.step,
            "epoch": snapshot.epoch,
            "playing": snapshot.playing,
            "steps_per_second": snapshot.steps_per_second,
            "loss": [_json_number(measured.train_loss), _json_number(measured.test_loss)],
            "score": [_json_number(measured.train_score), _json_number(measured.test_score)],
            "mode": view.mode,
            "unit_ranges": unit_ranges,
        }
        arrays = self._boundary(snapshot, folded, view)
        arrays["units"] = units
        arrays["weights"] = snapshot.parameters.astype(np.float32)
        if view.sample is not None and view.sample < len(self._X):
            header["sample"], more = self._sample(folded, view.sample)
            arrays |= more
            last = self._problem.settings.n_passes
            if snapshot.rest is not None and (last is None or snapshot.epoch < last):
                header["update"], more = next_step(
                    network, snapshot.parameters, snapshot.statistics, snapshot.step, snapshot.rest
                )
                arrays |= more
        return header, arrays

    def _boundary(self, snapshot: Snapshot, folded: Array, view: View) -> dict[str, Array]:
        """Return the large picture: classes, a probability, or the values of a regression."""
        problem, size = self._problem, view.resolution
        left, right, bottom, top = problem.limits
        if problem.kind == "regression":
            low, high = self.target_limits
            values = self._backend.outputs(
                self._network, folded, self._lattice(size), self._network.loss.output, 1, warns=False
            )
            return {"boundary": _bytes(values.reshape(size, size), low, max(high - low, 1e-12))}
        model = problem.over_plane(Model._sharing(self._network, snapshot.parameters, snapshot.statistics))

        def picture(response: str) -> Array:
            can_choose = response == "class" and not problem.has_computed_features
            method = self._faster_method(size) if can_choose else "dense"
            began = time.perf_counter()
            image = render_boundary(
                model, (left, right), (bottom, top), (size, size), response=response, method=method,
                n_threads=1,
            )  # fmt: skip
            if response == "class":
                self._seconds.setdefault(size, {})[method] = time.perf_counter() - began
            assert image.data is not None
            return image.data[::-1]

        if view.mode == "classes":
            return {"boundary": picture("class")}
        assert problem.classes is not None
        if len(problem.classes) == 2:
            return {"boundary": _bytes(picture("probability"), 0.0, 1.0)}
        return {"boundary": picture("class"), "confidence": _bytes(picture("confidence"), 0.0, 1.0)}

    def _faster_method(self, size: int) -> str:
        """Return the method of the next picture of classes of a size; both paint the same pixels."""
        seconds = self._seconds.get(size, {})
        self._n_pictures += 1
        if seconds.get("dense", 0.0) < WORTHWHILE_SECONDS:
            return "dense"
        if "certified" not in seconds:
            return "certified"
        faster, slower = sorted(seconds, key=seconds.__getitem__)
        return faster if self._n_pictures % RACE_PICTURES else slower

    def _lattice(self, size: int) -> Array:
        """Return the network's inputs (size^2, n_inputs) at the pixels of a picture from the top row down."""
        if size not in self._points:
            if len(self._points) == N_SIZES:
                self._points.clear()
            left, right, bottom, top = self._problem.limits
            points = pixel_centres((left, right), (top, bottom), size)
            self._points[size] = self._problem.features(points).astype(self._network.dtype)
        return self._points[size]

    def _units(self, folded: Array, size: int) -> tuple[NDArray[np.uint8], list[tuple[float, float]]]:
        """Return the pictures (n_units, size, size) of all hidden units, and their ranges of values."""
        pictures = [np.empty((0, size, size), np.uint8)]
        ranges: list[tuple[float, float]] = []
        W, b = self._network.weights(folded), self._network.biases(folded)
        values = self._lattice(size)
        for k, network in enumerate(self._hidden):
            parameters = aligned_empty(network.n_parameters, network.dtype)
            parameters[...] = 0
            network.weights(parameters)[0][...], network.biases(parameters)[0][...] = W[k], b[k]
            values = self._backend.outputs(network, parameters, values, "identity", 1, warns=False)
            low, high = _unit_ranges(network.activations[0], values)
            ranges += zip(low.tolist(), high.tolist(), strict=True)
            pictures.append(_bytes(values, low, high - low).T.reshape(-1, size, size))
        return np.concatenate(pictures), ranges

    def first(self, view: View) -> tuple[dict[str, Any], dict[str, Array]]:
        """Return what only the first frame of a run holds: the samples, and pictures of the inputs."""
        problem, size = self._problem, view.unit_resolution
        values = self._lattice(size)
        low, high = _unit_ranges("identity", values)
        arrays: dict[str, Array] = {
            "points": problem.X.astype(np.float32),
            "is_test": problem.is_test.astype(np.uint8),
            "inputs": _bytes(values, low, high - low).T.reshape(-1, size, size),
        }
        if problem.kind == "classes":
            arrays["labels"] = problem.y.astype(np.int32)
        else:
            arrays["targets"] = problem.y.astype(np.float32)
        return {"input_ranges": list(zip(low.tolist(), high.tolist(), strict=True))}, arrays

    def _sample(self, folded: Array, number: int) -> tuple[dict[str, Any], dict[str, Array]]:
        """Return a sample's way through the network and back: sums, activations and derivatives."""
        network = self._network
        W, b = network.weights(folded), network.biases(folded)
        a, y = self._X[number : number + 1], self._y[number : number + 1]
        arrays, inner = {"sample.x": a}, []
        with np.errstate(all="ignore"):
            for k, name in enumerate(network.activations):
                z = a @ W[k] + b[k]
                a = activation_forward(name, z)
                inner.append((z, a))
                arrays[f"sample.z.{k}"], arrays[f"sample.a.{k}"] = z, a
            arrays["sample.p"] = output_forward(network.loss.output, a)
            target = y[:, 0].astype(np.int64) if network.loss.of_labels else y
            arguments = network.loss.name, a, target, np.ones(1), network.loss.parameter
            loss, derivative = float(loss_value(*arguments)), loss_backward(*arguments)
            for k in reversed(range(len(inner))):
                derivative = activation_backward(network.activations[k], *inner[k], derivative)
                arrays[f"sample.d.{k}"] = derivative
                derivative = derivative @ W[k].T
        header = {"index": number, "target": float(y[0, 0]), "loss": _json_number(loss)}
        return header, {name: array.ravel().astype(np.float32) for name, array in arrays.items()}


def pixel_centres(x: tuple[float, float], y: tuple[float, float], size: int) -> NDArray[np.float64]:
    """Return the centres (size^2, 2) of a square picture's pixels by its edges, row by row."""
    columns, rows = (centres(edges, size).points(0, size) for edges in (x, y))
    return np.stack(np.meshgrid(columns, rows), axis=-1).reshape(-1, 2)


def _unit_ranges(activation: str, values: Array) -> tuple[Array, Array]:
    """Return the ends of the ranges of units' pictures, given their values (n_points, n_units).

    A range is symmetric about 0 where the unit takes both signs.
    """
    with np.errstate(all="ignore"):
        ends = ACTIVATIONS[activation].value(np.array([-1e3, 1e3]))
    if np.isfinite(ends).all() and np.abs(ends).max() <= 1:  # bounded: all units share the range
        high = np.ones(values.shape[1])
        return high * (-1.0 if ends.min() < 0 else 0.0), high
    high = np.max(np.abs(values), axis=0, initial=0.0, where=np.isfinite(values)).astype(np.float64)
    high[high == 0] = 1.0
    return np.where(values.min(axis=0) < 0, -high, 0.0), high


def _bytes(values: Array, low: Any, width: Any) -> NDArray[np.uint8]:
    """Return values from `low` to ``low + width`` as bytes from 0 to 255, clipped; NaN becomes 0."""
    with np.errstate(all="ignore"):
        scaled = (values - low) * (255.0 / width)
        return np.clip(np.nan_to_num(scaled, nan=0.0), 0, 255).round().astype(np.uint8)


def _json_number(value: float) -> float | None:
    """Return a number, or None for one that JSON cannot hold."""
    return float(value) if np.isfinite(value) else None


def packed(header: Mapping[str, Any], arrays: Mapping[str, Array]) -> bytes:
    """Return a header and arrays as one binary message; see the top of this file.

    The page (``static/socket.js``) reads only bytes, int32 and float32: u1, i4 and f4.
    """
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
