"""Run: one training of a page, which trains for a moment and draws a frame whenever it is told to advance."""

from __future__ import annotations

import copy
import logging
import math
import sys
import tempfile
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..model import Model
from ..schedules import resolve_schedule
from ..system.messages import collect_warnings
from ..system.validation import short_repr
from ..training.divergence import DivergenceError
from ..training.model_training import train_in_chunks
from ..training.options import TrainOptions
from .fields import RequestError, is_number
from .frames import Artist, PageView, Snapshot, pack
from .learning_problem import LearningProblem
from .pace import Pace
from .recording import CURVE_COLUMNS, Recorder
from .script import WithinRun
from .settings import FIELDS, Settings

logger = logging.getLogger("fastnn")

# A training without end keeps 500 to 1000 of its measurements, however long it runs: it begins as a training
# of FIRST_EPOCHS, and continues as one of twice as many epochs, up to MAX_EPOCHS.
FIRST_EPOCHS, MAX_EPOCHS = 1000, 1 << 50
# Largest magnitude of a parameter that is set by hand.
MAX_PARAMETER = 1e6
# Largest number of frames per second, and of frames that the page has not drawn yet.
MAX_FRAMES, MAX_UNDER_WAY = 60, 2
# While a training has more to do, it lasts this many times as long as the drawing of a frame before the next
# one is drawn, but not more than MAX_GAP seconds. Python in a browser draws in 5 ms: 50 frames per second.
TRAINING_PER_DRAWING, MAX_GAP = 3 if sys.platform == "emscripten" else 15, 0.05
# Shortest training between two messages, and the time by which a chunk may end early, in seconds.
MIN_SECONDS, SLACK = 0.012, 0.001


@dataclass(frozen=True)
class Stage:
    """Part of a run: one call of `Model.train`, with settings of its own."""

    problem: LearningProblem
    step: int  # number of steps done before
    epoch: int  # number of whole epochs done before

    @property
    def n_epochs(self) -> int | None:
        n_epochs = self.problem.settings.n_passes
        return None if n_epochs is None else n_epochs - self.epoch

    @property
    def train_arguments(self) -> dict[str, Any]:
        """Keyword arguments of `Model.train` but for the epochs; a schedule continues the run's."""
        arguments, n_epochs = self.problem.train_arguments, self.n_epochs
        if n_epochs is not None and "schedule" in arguments:
            schedule = resolve_schedule(arguments["schedule"])
            total = self.step + n_epochs * self.problem.steps_per_epoch
            arguments["schedule"] = WithinRun(schedule, self.step, total)
        return arguments


class Run:
    """One training of a page, from its first step to its end.

    `send` takes messages for the page, dicts and bytes. The page chooses the number of the run.
    """

    def __init__(
        self,
        number: int,
        problem: LearningProblem,
        model: Model,
        view: PageView,
        speed: float | None,
        send: Callable[[Any], None],
    ) -> None:
        self.number, self.problem, self.model, self.view = number, problem, model, view
        self._send, self._artist = send, Artist(problem, model)
        first = Snapshot(0, 0, model._parameters.copy(), model._statistics.copy())
        self._recorder = Recorder(self._artist, first)
        self._pace = Pace(problem.steps_per_epoch, speed)
        self.stages = [Stage(problem, 0, 0)]  # settings of a training that runs have begun another part
        self._work = self._train()
        self._ending: dict[str, Any] | None = None  # the message of the training's end
        # Parameters that the page has set: the steps done, the number in the flat vector, and the value.
        self.set_by_hand: list[tuple[int, int, float]] = []
        self._warned: set[str] = set()  # the library's warnings, which a training that runs on repeats
        self._replaced: dict[int, list[float]] = {}  # values before, of the parameters that have been set
        self._is_stale = True  # there is something to draw
        self._n_frames, self._drawn = 0, -1
        self._sketched: Snapshot | None = None  # the last snapshot that was drawn
        # Times from which a frame may be drawn: while the training has steps to do, and while it has none.
        self._next_busy = self._next_idle = 0.0
        send(self._started())

    # --- what the page asks for ---------------------------------------------------------------------------

    def command(self, name: str) -> None:
        """Play, pause, or do a "step" or an "epoch"; a training that has ended says so again."""
        if self._ending is not None and name != "pause":
            self._send(self._ending)
            return
        getattr(self._pace, name)(self.latest.step)
        self._is_stale = True

    def set_speed(self, speed: float | None) -> None:
        self._pace.set_speed(speed, self.latest.step)

    def set_view(self, view: PageView) -> None:
        self.view, self._is_stale = view, True

    def set_drawn(self, frame: int) -> None:
        """Note that the page has drawn the frames up to this number, if they have been sent."""
        if frame < self._n_frames:
            self._drawn = max(self._drawn, frame)

    def change_settings(self, settings: Settings) -> None:
        """Continue from the present weights, with the values of the settings that are `Setting.live`."""
        self._check_running("change a setting")
        live = {name: getattr(settings, name) for name, each in FIELDS.items() if each.live}
        self.problem = replace(self.problem, settings=replace(self.problem.settings, **live))
        latest = self.latest
        if self.stages[-1].step == latest.step:  # nothing has been done with the settings before
            self.stages.pop()
        self._work.close()
        self.model._training = None  # a training with other settings is no continuation of this state
        self.stages.append(Stage(self.problem, latest.step, latest.epoch))
        self._recorder.restart()
        self._warned.clear()
        self._pace.set_epochs(latest.step, self.problem.steps_per_epoch)
        self._work = self._train()
        self._is_stale = True
        changed = {"run": self.number, "state": self.problem.settings.state, "l2": self.problem.l2}
        self._send({"type": "changed", **changed})

    def _check_running(self, what: str) -> None:
        """Raise RequestError unless the training can be changed while it runs."""
        if self.problem.settings.optimizer == "lbfgs":
            raise RequestError(None, f"L-BFGS continues from its past steps: use another optimizer to {what}")
        if self._ending is not None:
            raise RequestError(None, f"the training has ended: restart it to {what}")

    def set_parameter(self, index: object, value: object) -> None:
        """Set a parameter by its number in the flat vector, or to its value before if `value` is None."""
        self._check_running("set a weight")
        places = ((part["offset"], part["offset"] + math.prod(part["shape"])) for part in self._layout)
        if not (type(index) is int and any(first <= index < end for first, end in places)):
            raise RequestError(None, f"there is no parameter number {short_repr(index)}")
        if value is not None and not (is_number(value) and abs(value) <= MAX_PARAMETER):
            limits = f"from -{MAX_PARAMETER:,.0f} to {MAX_PARAMETER:,.0f}"
            raise RequestError(None, f"a weight must be a number {limits}, got {short_repr(value)}")
        self._begin()
        assert self._recorder.training is not None
        parameters, replaced = self._recorder.training.trainer.current, self._replaced.setdefault(index, [])
        if value is not None:
            replaced.append(float(parameters[index]))
        elif replaced:
            value = replaced.pop()
        else:
            return
        parameters[index] = value
        self.set_by_hand.append((self.latest.step, index, float(value)))
        self._recorder.observe()
        self._recorder.add_point(is_leap=True)
        self._is_stale = True

    # --- what is kept ---------------------------------------------------------------------------------------

    @property
    def latest(self) -> Snapshot:
        return self._recorder.latest

    @property
    def film(self) -> list[Snapshot]:
        film, latest = self._recorder.film, self.latest
        return [*film, latest] if latest.step > film[-1].step else [*film]

    def model_of(self, snapshot: Snapshot) -> Model:
        return Model._share(self.model._network, snapshot.parameters.copy(), snapshot.statistics.copy())

    def save_model(self) -> bytes:
        """Return the file of the model after the last step, with the state of its training."""
        self._work.close()  # leaves the state in the model, from which the training continues
        if self._ending is None:
            self._work, self._recorder.training = self._train(), None
        model = self.problem.absorb_units(self.model) or copy.copy(self.model)
        state = model._training
        whole = self.problem.settings.n_passes
        if state is not None and whole is not None and isinstance(state.settings["schedule"], WithinRun):
            # A resumed training does the whole run, so it needs the schedule itself, from its beginning.
            settings = state.settings | {"schedule": state.settings["schedule"].schedule}
            is_whole = len(self.stages) == 1
            model._training = replace(state, settings=settings, num_passes=whole) if is_whole else None
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "model.fastnn"
            model.save(path)
            return path.read_bytes()

    # --- the loop -------------------------------------------------------------------------------------------

    def advance(self) -> float | None:
        """Train until a frame is due, draw it; return the seconds until more is due, None after a message."""
        warned: list[tuple[str, type[Warning]]] = []
        try:
            with collect_warnings(warned):
                self._begin()
                if self._n_frames:
                    self._train_until(max(self._next_busy, time.perf_counter() + MIN_SECONDS))
            for text, _ in warned:
                if text not in self._warned:
                    self._warned.add(text)
                    self._send({"type": "warning", "run": self.number, "text": text})
            if self._seconds_to_frame() == 0:
                self._draw()
        except Exception as error:
            logger.exception("a training of the playground failed")
            self._end(f"the training has failed: {type(error).__name__}: {error}", failed=True)
            self._is_stale = False
            return None
        waits = self._pace.wait(self.latest.step) if self._ending is None else None, self._seconds_to_frame()
        return min((wait for wait in waits if wait is not None), default=None)

    def close(self) -> None:
        self._work.close()

    def _train(self) -> Generator[None, None, str]:
        """Train the model on, yielding before every chunk; return why the training has ended."""
        stage, model, problem = self.stages[-1], self.model, self.problem
        last, arguments = stage.n_epochs or MAX_EPOCHS, stage.train_arguments
        while True:
            done = self.latest.epoch - stage.epoch
            n_passes = min(last, FIRST_EPOCHS << (done // FIRST_EPOCHS).bit_length())
            state = model._training
            options = TrainOptions(
                num_passes=n_passes,
                callbacks=[self._recorder],
                n_threads=None,
                resume=state is not None and state.memory is not None,  # L-BFGS may not have begun
                **arguments,
            )
            yield from train_in_chunks(model, *problem.training_data, options)
            done = self.latest.epoch - stage.epoch
            if done < n_passes:
                return f"{problem.settings.optimizer} has ended: no step lowers the loss any more"
            if done >= last:
                return f"the run of {self.latest.epoch:,} epochs is done"

    def _begin(self) -> None:
        """Prepare the training for its first chunk, if it has not begun."""
        if self._recorder.training is None and self._ending is None:
            next(self._work)

    def _train_until(self, end: float) -> None:
        """Train until a time, while steps are due."""
        while self._ending is None and (due := self._pace.due(self.latest.step)) > 0:
            seconds = end - time.perf_counter()
            if seconds < SLACK:
                return
            self._recorder.limit(due, seconds)
            self._is_stale = True
            try:
                next(self._work)
            except StopIteration as ending:
                self._end(ending.value, failed=False)
            except DivergenceError as error:
                self._end(str(error), failed=True)

    def _end(self, why: str, failed: bool) -> None:
        self._ending = {"type": "ended", "run": self.number, "why": why, "failed": failed}
        self._pace.pause(self.latest.step)
        self._send(self._ending)

    def _seconds_to_frame(self) -> float | None:
        """Return the seconds until a frame is due; None if nothing is new, or the page is behind."""
        if not self._is_stale or self._n_frames > self._drawn + MAX_UNDER_WAY:
            return None
        start = self._next_busy if self._pace.due(self.latest.step) > 0 else self._next_idle
        seconds = start - time.perf_counter()
        return seconds if seconds > SLACK else 0.0

    def _draw(self) -> None:
        """Compute a frame and send it.

        The network is sketched while it trains, and as soon as it rests; a second frame then has pictures of
        the screen's resolution, and the numbers of the next step.
        """
        began, snapshot, pace = time.perf_counter(), self.latest, self._pace
        training = self._recorder.training
        rests = not pace.playing and pace.due(snapshot.step) <= 0
        if rests and training is not None and snapshot.step:
            self._recorder.add_point()
        sketch, view = self._artist.sketch(self.view), self._artist.refine(self.view)
        is_sketch = sketch != view and (pace.playing or snapshot is not self._sketched)
        self._sketched = snapshot
        next_from = training if rests and self._ending is None and not is_sketch else None
        with np.errstate(all="ignore"):  # a training that diverges overflows in pictures too
            header, arrays = self._artist.draw(snapshot, sketch if is_sketch else view, next_from)
        header |= {
            "type": "frame",
            "run": self.number,
            "frame": self._n_frames,
            "playing": pace.playing,
            "steps_per_second": pace.measure(snapshot.step),
        }
        if self._n_frames == 0:
            more, data = self._artist.first(self.view)
            header |= more
            arrays |= data
        points = np.array(self._recorder.take_points()).reshape(-1, len(CURVE_COLUMNS))
        with np.errstate(over="ignore"):
            arrays["curves"] = points.astype(np.float32)
        self._n_frames += 1
        self._is_stale = is_sketch and not pace.playing
        self._send(pack(header, arrays))
        ended = time.perf_counter()
        self._next_idle = began + 1 / MAX_FRAMES
        self._next_busy = max(self._next_idle, ended + min(MAX_GAP, TRAINING_PER_DRAWING * (ended - began)))

    # --- the first message ----------------------------------------------------------------------------------

    @property
    def _layout(self) -> list[dict[str, Any]]:
        """Names, places and shapes of the parts of the flat vector of parameters."""
        layout: list[dict[str, Any]] = []
        for k, layer in enumerate(self.model._network.layers):
            layout.append({"name": f"W{k}", "offset": layer.weights, "shape": [layer.n_in, layer.n_out]})
            for name, offset in (("b", layer.biases), ("scale", layer.scales), ("shift", layer.shifts)):
                if offset >= 0:
                    layout.append({"name": f"{name}{k}", "offset": offset, "shape": [layer.n_out]})
        return layout

    def _started(self) -> dict[str, Any]:
        problem, network, layout = self.problem, self.model._network, self._layout
        table = problem.table
        return {
            "type": "started",
            "run": self.number,
            "state": problem.settings.state,
            "layers_dim": list(network.layers_dim),
            "activations": list(network.activations),
            "output": network.loss.output,
            "loss": network.loss.name,
            "l2": problem.l2,
            "max_probability": self._artist.max_probability,
            "classes": problem.classes,
            "kind": problem.kind,
            "limits": list(problem.limits),
            "inputs": problem.inputs,
            "features": problem.feature_names,
            "column_units": table and table.units.describe(),
            "target_limits": list(self._artist.target_limits) if problem.kind == "regression" else None,
            "target_units": table and table.target_units and table.target_units.describe(),
            "n_parameters": sum(math.prod(entry["shape"]) for entry in layout),
            "n_train": len(problem.train),
            "n_test": len(problem.test),
            "layout": layout,
            "max_parameter": MAX_PARAMETER,
        }
