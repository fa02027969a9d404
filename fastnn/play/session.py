"""Session: what one page does, by the messages that it sends and is sent, whatever carries them."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from .fields import RequestError, Setting
from .frames import Artist, PageView, Snapshot, pack
from .greeting import make_greeting
from .learning_problem import make_problem
from .run import Run
from .saves import make_file
from .script import write_script
from .settings import Settings

if TYPE_CHECKING:
    from .table import PlayTable

SPEED = Setting("number", None, "", 0.01, 1e9, optional=True)

logger = logging.getLogger("fastnn")


def warm_up(settings: Settings, table: PlayTable | None) -> None:
    """Compile or load the kernels that the first page will need."""
    problem, model = make_problem(settings, table)
    artist = Artist(problem, model)
    artist.draw(Snapshot(0, 0, model._parameters, model._statistics), PageView())
    model.train(*problem.training_data, 1, **problem.train_arguments)


class Session:
    """The state of one page: its run, its view and its speed.

    It has no thread: whoever holds the connection calls `receive` with a message, and `advance` when there is
    more to do, one call at a time. `send` takes messages for the page: JSON as text, and bytes.
    """

    def __init__(self, send: Callable[[str | bytes], None], table: PlayTable | None = None) -> None:
        self._post, self._table = send, table
        self._view, self._speed = PageView(), None
        self.run: Run | None = None
        self._saving: Generator[None, None, None] | None = None  # makes a file, part by part

    def greet(self) -> None:
        """Send the first message: everything that can be set, and the state to begin with."""
        self._send(make_greeting(self._table))

    def _send(self, message: dict[str, Any] | bytes) -> None:
        self._post(message if isinstance(message, bytes) else json.dumps(message, allow_nan=False))

    def receive(self, text: str | None) -> None:
        """Act on a message of the page; None is one that was not text. The page is told what is wrong."""
        with self._errors_sent():
            if text is None:
                raise RequestError(None, "a message was not text")
            try:
                message = json.loads(text)
            except (ValueError, RecursionError):
                raise RequestError(None, "a message was not JSON") from None
            if not isinstance(message, dict):
                raise RequestError(None, "a message was not an object")
            self.handle(message)

    def handle(self, message: Mapping[str, Any]) -> None:
        """Act on a message of the page. After a RequestError the run continues."""
        kind = message.get("type")
        handler = self._HANDLERS.get(kind) if isinstance(kind, str) else None
        if handler is None:
            raise RequestError(None, f"there is no message {kind!r}")
        handler(self, message)

    def advance(self) -> float | None:
        """Do the next part of the work; return the seconds until there is more, None for after a message."""
        wait = None if self.run is None else self.run.advance()
        if self._saving is None:
            return wait
        if next(self._saving, "done") == "done":
            self._saving = None
        return 0.0

    def close(self) -> None:
        if self.run is not None:
            self.run.close()

    @property
    def running(self) -> Run:
        if self.run is None:
            raise RequestError(None, "there is no training yet: send start first")
        return self.run

    @contextmanager
    def _errors_sent(self) -> Iterator[None]:
        """Send the error that the context raises, if it raises one."""
        try:
            yield
        except RequestError as error:
            further = [{"field": each.name, "text": str(each)} for each in error.further]
            self._send({"type": "error", "field": error.name, "text": str(error), "further": further})
        except Exception as error:
            logger.exception("the playground failed to act on a message")
            text = f"the playground has failed: {type(error).__name__}: {error}"
            self._send({"type": "error", "field": None, "text": text})

    def _start(self, message: Mapping[str, Any]) -> None:
        """Replace the run by a new one; if the new state is refused, the present run continues."""
        number = message.get("run", 0)
        if type(number) is not int:
            raise RequestError(None, "run must be an integer")
        problem, model = make_problem(Settings.of_state(message.get("state", {})), self._table)
        self.close()
        self.run = Run(number, problem, model, self._view, self._speed, self._send)

    def _command(self, message: Mapping[str, Any]) -> None:
        if self.run is None and message["type"] == "pause":
            return  # nothing runs
        self.running.command(message["type"])

    def _set_speed(self, message: Mapping[str, Any]) -> None:
        self._speed = speed = SPEED.check("steps_per_second", message.get("steps_per_second"))
        if self.run is not None:
            self.run.set_speed(speed)

    def _set_parameter(self, message: Mapping[str, Any]) -> None:
        """Set a parameter of the run that the message names, unless it has been replaced."""
        if message.get("run", self.running.number) == self.running.number:
            self.running.set_parameter(message.get("index"), message.get("value"))

    def _change(self, message: Mapping[str, Any]) -> None:
        """Change settings of the run that the message names, unless it has been replaced."""
        if message.get("run", self.running.number) == self.running.number:
            self.running.change_settings(Settings.of_state(message.get("state", {})))

    def _set_view(self, message: Mapping[str, Any]) -> None:
        self._view = self._view.change(message)
        if self.run is not None:
            self.run.set_view(self._view)

    def _note_drawn(self, message: Mapping[str, Any]) -> None:
        frame, run = message.get("frame"), self.run
        if type(frame) is int and run is not None and message.get("run", run.number) == run.number:
            run.set_drawn(frame)

    def _show_script(self, message: Mapping[str, Any]) -> None:
        self._send({"type": "script", "text": write_script(self.running)})

    def _save(self, message: Mapping[str, Any]) -> None:
        if self._saving is not None:
            raise RequestError(None, "a file is being saved already: wait for it")
        self._saving = self._send_file(self.running, message.get("what"))

    def _send_file(self, run: Run, what: Any) -> Generator[None, None, None]:
        """Make a file and send it, yielding between the parts of the work."""
        with self._errors_sent():
            name, content = yield from make_file(run, what)
            self._send(pack({"type": "saved", "name": name}, {"content": np.frombuffer(content, np.uint8)}))

    _HANDLERS: ClassVar[dict[str, Callable[[Session, Mapping[str, Any]], None]]] = {
        "start": _start,
        "change": _change,
        "play": _command,
        "pause": _command,
        "step": _command,
        "epoch": _command,
        "speed": _set_speed,
        "parameter": _set_parameter,
        "view": _set_view,
        "drawn": _note_drawn,
        "script": _show_script,
        "save": _save,
    }
