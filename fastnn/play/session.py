"""Session: what one page does. A run is one training in a thread, with another thread that draws it."""

from __future__ import annotations

import copy
import logging
import math
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from ..model import Model
from ..schedules import Schedule
from ..system.threads import available_cores
from ..system.validation import shown
from ..training.divergence import DivergenceError
from .compiling import note_compiled, reported_compilations
from .fields import RequestError
from .frames import Artist, Snapshot, View, packed
from .problem import LearningProblem, Units, posed
from .settings import Settings
from .steering import CURVE_COLUMNS, Steering
from .table import PlayTable

__all__ = ["Run", "Session", "WithinRun", "warm_up"]

logger = logging.getLogger("fastnn")

# Epochs after which a training without end keeps fewer of its measurements: it continues as a training of
# twice as many epochs, and so keeps 500 to 1000 of them, however long it runs.
FIRST_EPOCHS = 1000
# Largest number of epochs of any training.
MAX_EPOCHS = 1 << 50
# Largest magnitude of a parameter that is set by hand.
MAX_PARAMETER = 1e6
# Largest number of frames per second, and of frames that the page has not drawn yet.
MAX_FRAMES, MAX_UNDER_WAY = 60, 2


@dataclass(frozen=True)
class WithinRun(Schedule):
    """Another schedule over a run of `total` steps, for a training that does only the first of them."""

    schedule: Schedule
    total: int

    def factors(self, steps, total):
        """Return the factors of the other schedule at some steps of its whole run."""
        return self.schedule.factors(steps, self.total)


class Run:
    """One training of a page, from its first step to its end.

    Parameters
    ----------
    number : int
        Number of the page's choosing.
    problem : LearningProblem
        Samples and settings.
    model : Model
        Model with initial parameters.
    view : View
        What the page wants to see.
    speed : float or None
        Steps per second; None for as many as possible.
    send : callable
        Function that takes messages for the page, from any thread: dicts and bytes.
    """

    def __init__(
        self,
        number: int,
        problem: LearningProblem,
        model: Model,
        view: View,
        speed: float | None,
        send: Callable[[Any], None],
    ) -> None:
        self.number, self.problem, self.model = number, problem, model
        self._send, self._view = send, view
        self._artist = Artist(problem, model)
        first = Snapshot(0, 0, model._parameters.copy(), model._statistics.copy())
        self._wake = threading.Condition()
        self._sending = threading.RLock()  # guards `_compiling`, and the end: a closed run sends nothing
        self._is_stale = False  # there is something to draw
        self._frame, self._drawn = 0, -1
        self._has_begun = False  # the first frame has been sent
        self._sketched: Snapshot | None = None  # the last snapshot that was drawn
        self._compiling: set[int] = set()
        self._ending: dict[str, Any] | None = None  # the message of the training's end
        # Files of the model that other threads wait for; None once the training has ended.
        self._wanted: list[Future[bytes]] | None = []
        self.steering = Steering(self._artist, first, problem.steps_per_epoch, speed, self._redraw)
        self._threads = [
            threading.Thread(
                target=self._guarded, args=(work,), name=f"fastnn playground {name}", daemon=True
            )
            for name, work in (("training", self._train), ("drawing", self._draw))
        ]

    def start(self) -> None:
        """Tell the page, and start the threads."""
        self.send(self._started())
        for thread in self._threads:
            thread.start()

    @property
    def view(self) -> View:
        """The view that the page asks for."""
        return self._view

    def close(self) -> None:
        """Make the threads end within about 50 ms; no message follows."""
        with self._sending:
            self.steering.close()
        with self._wake:
            self._wake.notify_all()

    def join(self) -> None:
        """Wait for the end of the threads."""
        for thread in self._threads:
            thread.join()

    def command(self, name: str) -> None:
        """Play, pause, or do a "step" or an "epoch"; a training that has ended says so again."""
        if self._ending is not None and name != "pause":
            self.send(self._ending)
        else:
            getattr(self.steering, name)()

    def set_parameter(self, index: Any, value: Any) -> None:
        """Set a parameter by its number in the flat vector, or to its value before if `value` is None.

        Raises
        ------
        RequestError
            If there is no such number, or if it cannot be set.
        """
        if self.problem.settings.optimizer == "lbfgs":
            raise RequestError(None, "L-BFGS continues from its own past steps: no weight can be set by hand")
        if self._ending is not None:
            raise RequestError(None, "the training has ended: go back to its beginning to set a weight")
        places = ((part["offset"], part["offset"] + math.prod(part["shape"])) for part in self._layout)
        if not (type(index) is int and any(first <= index < end for first, end in places)):
            raise RequestError(None, f"there is no parameter number {shown(index)}")
        if value is not None and not (type(value) in (int, float) and abs(value) <= MAX_PARAMETER):
            limits = f"from -{MAX_PARAMETER:,.0f} to {MAX_PARAMETER:,.0f}"
            raise RequestError(None, f"a weight must be a number {limits}, got {shown(value)}")
        self.steering.set_parameter(index, None if value is None else float(value))

    def send(self, message: Any) -> None:
        """Send a message to the page unless the run has been replaced or closed."""
        with self._sending:
            if not self.steering.is_closed:
                self._send(message)

    def set_view(self, view: View) -> None:
        """Set what the page sees, and draw it."""
        self._view = view
        self._redraw()

    def set_drawn(self, frame: int) -> None:
        """Note that the page has drawn the frames up to this number, if they have been sent."""
        with self._wake:
            if frame < self._frame:  # after a reset, frames of the run before may still be noted
                self._drawn = max(self._drawn, frame)
            self._wake.notify_all()

    def current_model(self) -> Model:
        """Return a model with the parameters of the last step."""
        return self.model_of(self.steering.latest)

    def model_of(self, snapshot: Snapshot) -> Model:
        """Return a model with copies of the parameters of a snapshot."""
        return Model._sharing(self.model._network, snapshot.parameters.copy(), snapshot.statistics.copy())

    def saved_model(self) -> bytes:
        """Return the file of the model after the last step, with the state of its training."""
        wanted: Future[bytes] = Future()
        with self._wake:
            is_over = self._wanted is None
            if self._wanted is not None:
                # The state of a training is in its model after `Model.train` has returned.
                self._wanted.append(wanted)
                self.steering.interrupt()
        return self._model_file() if is_over else wanted.result()

    def _model_file(self) -> bytes:
        """Return the file of the model while nothing trains."""
        model = self.problem.absorbed(self.model) or copy.copy(self.model)
        state, whole = model._training, self.problem.settings.n_passes
        if state is not None and isinstance(state.settings["schedule"], WithinRun):
            # A resumed training does the whole run: it needs the schedule itself, not `WithinRun`.
            assert whole is not None
            settings = state.settings | {"schedule": self._artist.schedule}
            model._training = replace(state, settings=settings, num_passes=whole)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "model.fastnn"
            model.save(path)
            return path.read_bytes()

    def _hand_out(self, is_over: bool) -> bool:
        """Give the model's file to the threads that wait for it; return True if there are any."""
        with self._wake:
            wanted = self._wanted or []
            self._wanted = None if is_over else []
            self.steering.resume()
        for future in wanted:
            try:
                future.set_result(self._model_file())
            except Exception as error:
                future.set_exception(error)
        return bool(wanted)

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
        """Return the message that describes the run."""
        problem, network, layout = self.problem, self.model._network, self._layout
        return {
            "type": "started",
            "run": self.number,
            "state": problem.settings.state,
            "layers_dim": list(network.layers_dim),
            "activations": list(network.activations),
            "output": network.loss.output,
            "loss": network.loss.name,
            "l2": problem.l2,
            "classes": problem.classes,
            "kind": problem.kind,
            "limits": list(problem.limits),
            "inputs": problem.inputs,
            "features": problem.feature_names,
            "column_units": _described_units(problem.table.units if problem.table else None),
            "target_limits": list(self._artist.target_limits) if problem.kind == "regression" else None,
            "target_units": _described_units(problem.table.target_units if problem.table else None),
            "n_parameters": sum(math.prod(entry["shape"]) for entry in layout),
            "n_train": len(problem.train),
            "n_test": len(problem.test),
            "steps_per_epoch": problem.steps_per_epoch,
            "passes": problem.settings.n_passes,
            "layout": layout,
            "max_parameter": MAX_PARAMETER,
            "units": [
                [layer, unit] for layer, size in enumerate(network.layers_dim[1:-1]) for unit in range(size)
            ],
        }

    def _guarded(self, work: Callable[[], None]) -> None:
        """Do the work of a thread; after an error, tell the page, which would wait for ever."""
        try:
            with reported_compilations(self._report_compiling):
                work()
        except Exception as error:
            logger.exception("the playground's %s failed", threading.current_thread().name)
            self._end(f"the training has failed: {type(error).__name__}: {error}", failed=True)

    def _end(self, why: str, failed: bool) -> None:
        """Tell the page that the training has ended."""
        self._ending = {"type": "ended", "run": self.number, "why": why, "failed": failed}
        self.steering.rest()
        self.send(self._ending)

    # --- the training's thread --------------------------------------------------------------------------

    def _train(self) -> None:
        """Draw the first frame, and train until the run is closed or its epochs are done."""
        failed = False
        try:
            with self._wake:
                self._is_stale = False
            self._send_frame(self.steering.latest)
            with self._wake:
                self._has_begun = True
                self._wake.notify_all()  # the view may have changed meanwhile
            why = self._trained()
        except DivergenceError as error:
            why, failed = str(error), True
        finally:
            self._hand_out(is_over=True)
        self._end(why, failed)

    def _trained(self) -> str:
        """Train; return why the training has ended."""
        problem, model, steering = self.problem, self.model, self.steering
        arguments = problem.train_arguments
        whole = problem.settings.n_passes
        if whole is not None and problem.settings.schedule != "constant":
            arguments["schedule"] = WithinRun(self._artist.schedule, whole * problem.steps_per_epoch)
        arguments["n_threads"] = max(1, available_cores() - 1)  # a core draws; the bits are the same
        X, y = problem.training_data
        last = MAX_EPOCHS if whole is None else whole
        n_passes, resume = min(FIRST_EPOCHS, last), False
        hooks: list[Any] = [steering]
        while True:
            model.train(X, y, n_passes, callbacks=hooks, resume=resume, **arguments)
            done = steering.latest.epoch
            if steering.is_closed:
                return "closed"
            if self._hand_out(is_over=False):
                state = model._training
                resume = state is not None and state.memory is not None  # L-BFGS may not have begun
                continue
            if done < n_passes:
                return f"{problem.settings.optimizer} has ended: no step lowers the loss any more"
            if done >= last:
                return f"the run of {last:,} epochs is done"
            n_passes, resume = min(2 * n_passes, last), True

    # --- the drawing thread -----------------------------------------------------------------------------

    def _redraw(self) -> None:
        """Wake the drawing thread."""
        note_compiled()
        with self._wake:
            self._is_stale = True
            self._wake.notify_all()

    def _draw(self) -> None:
        """Send frames while there is something new to draw and the page keeps up."""
        note_compiled()  # this thread does not wait for another's compilation before it draws
        last = 0.0
        while True:
            with self._wake:
                while not (self.steering.is_closed or self._is_frame_due):
                    self._wake.wait()
                self._is_stale = False
            if self.steering.is_closed:
                return
            time.sleep(max(0.0, last + 1 / MAX_FRAMES - time.perf_counter()))
            last = time.perf_counter()
            self._send_frame(self.steering.latest)

    @property
    def _is_frame_due(self) -> bool:
        """True if there is something new to draw and the page keeps up; not for the first frame."""
        keeps_up = self._frame <= self._drawn + MAX_UNDER_WAY
        return self._has_begun and self._is_stale and keeps_up and not self.steering.is_held

    def _send_frame(self, snapshot: Snapshot) -> None:
        """Compute a frame and send it.

        A large network is sketched while it trains, and as soon as it rests; a second frame then has pictures
        of the full resolution, and the numbers of the next step.
        """
        view = self._view
        sketch = self._artist.sketch(view)
        is_sketch = sketch != view and (snapshot.playing or snapshot is not self._sketched)
        self._sketched = snapshot
        shown, view = (replace(snapshot, rest=None), sketch) if is_sketch else (snapshot, view)
        with np.errstate(all="ignore"):  # a training that diverges overflows in pictures too
            header, arrays = self._artist.draw(shown, view, self.number, self._frame)
        if self._frame == 0:
            more, data = self._artist.first(self._view)
            header |= more
            arrays |= data
        points = np.array(self.steering.take_points()).reshape(-1, len(CURVE_COLUMNS))
        with np.errstate(over="ignore"):
            arrays["curves"] = points.astype(np.float32)
        note_compiled()
        with self._wake:
            self._frame += 1
            self._is_stale |= is_sketch and not snapshot.playing
        self.send(packed(header, arrays))

    def _report_compiling(self, busy: bool) -> None:
        """Tell the page that a thread of this run has begun or ended to compile."""
        thread = threading.get_ident()
        with self._sending:  # the page must learn last what holds last
            before = bool(self._compiling)
            (self._compiling.add if busy else self._compiling.discard)(thread)
            after = bool(self._compiling)
            if before != after:
                self.send({"type": "compiling", "run": self.number, "busy": after})


def _described_units(units: Units | None) -> dict[str, Any] | None:
    """Return units as the page reads them."""
    return (
        None if units is None else {name: np.asarray(value).tolist() for name, value in vars(units).items()}
    )


def warm_up(settings: Settings, table: PlayTable | None) -> None:
    """Compile or load the kernels that the first page will need."""
    with reported_compilations():
        problem, model = posed(settings, table)
        artist = Artist(problem, model)
        artist.draw(Snapshot(0, 0, model._parameters, model._statistics), View())
        model.train(*problem.training_data, 1, **problem.train_arguments)


class Session:
    """The state of one page: its run, its view and its speed.

    Parameters
    ----------
    send : callable
        Function that takes messages for the page, from any thread.
    table : PlayTable, optional
        The user's table.
    """

    def __init__(self, send: Callable[[Any], None], table: PlayTable | None = None) -> None:
        self._send, self._table = send, table
        self._view, self._speed = View(), None
        self.run: Run | None = None

    def handle(self, message: Mapping[str, Any]) -> None:
        """Act on a message of the page.

        Raises
        ------
        RequestError
            If the message, or a setting in it, cannot be used. The run continues.
        """
        kind = message.get("type")
        handler = self._HANDLERS.get(kind) if isinstance(kind, str) else None
        if handler is None:
            raise RequestError(None, f"there is no message {kind!r}")
        handler(self, message)

    def close(self) -> None:
        """End the run, if there is one."""
        if self.run is not None:
            self.run.close()

    def _start(self, message: Mapping[str, Any]) -> None:
        """Replace the run by a new one; if the new state is refused, the present run continues."""
        settings = Settings.of_state(message.get("state", {}))
        # A training that runs on would take the time that the new one's first frame needs.
        with nullcontext() if self.run is None else self.run.steering.held():
            problem, model = posed(settings, self._table)
            self._begin(message.get("run", 0), problem, model)

    def _begin(self, number: Any, problem: LearningProblem, model: Model) -> None:
        """Start a run in place of the present one."""
        if type(number) is not int:
            raise RequestError(None, "run must be an integer")
        new = Run(number, problem, model, self._view, self._speed, self._send)
        self.close()
        self.run = new
        new.start()

    @property
    def running(self) -> Run:
        """The run; raise RequestError if there is none."""
        if self.run is None:
            raise RequestError(None, "there is no training yet: send start first")
        return self.run

    def _reset(self, message: Mapping[str, Any]) -> None:
        """Begin again from the same seed."""
        run = self.running
        self._begin(run.number, run.problem, run.problem.new_model())

    def _command(self, message: Mapping[str, Any]) -> None:
        """Play, pause, or do a step or an epoch, as the message's type says."""
        if self.run is None and message["type"] == "pause":
            return  # nothing runs
        self.running.command(message["type"])

    def _set_speed(self, message: Mapping[str, Any]) -> None:
        """Set the number of steps per second."""
        speed = message.get("steps_per_second")
        if speed is not None and not (type(speed) in (int, float) and 0.01 <= speed <= 1e9):
            raise RequestError(None, f"steps_per_second must be null or from 0.01 to 1e9, got {speed!r}")
        self._speed = speed
        if self.run is not None:
            self.run.steering.set_speed(speed)

    def _set_parameter(self, message: Mapping[str, Any]) -> None:
        """Set a parameter of the run that the message names, unless it has been replaced."""
        if message.get("run", self.running.number) == self.running.number:
            self.running.set_parameter(message.get("index"), message.get("value"))

    def _set_view(self, message: Mapping[str, Any]) -> None:
        self._view = self._view.changed(message)
        if self.run is not None:
            self.run.set_view(self._view)

    def _note_drawn(self, message: Mapping[str, Any]) -> None:
        frame = message.get("frame")
        if (
            type(frame) is int
            and self.run is not None
            and message.get("run", self.run.number) == self.run.number
        ):
            self.run.set_drawn(frame)

    _HANDLERS: ClassVar[dict[str, Callable[[Session, Mapping[str, Any]], None]]] = {
        "start": _start,
        "reset": _reset,
        "play": _command,
        "pause": _command,
        "step": _command,
        "epoch": _command,
        "speed": _set_speed,
        "parameter": _set_parameter,
        "view": _set_view,
        "drawn": _note_drawn,
    }
