"""A page of the playground without a browser, and functions that unpack its messages and wait."""

import json
import threading
import time

import numpy as np
from processes import PATIENCE

from fastnn.play.session import Session


def unpacked(message):
    """Return the header and the arrays of a binary message."""
    length = int.from_bytes(message[:4], "little")
    header = json.loads(message[4 : 4 + length])
    first = 4 + length
    assert first % 8 == 0
    arrays = {}
    for name, (at, kind, shape) in header["arrays"].items():
        assert at % 8 == 0
        dtype = np.dtype(f"<{kind}")
        count = int(np.prod(shape))
        arrays[name] = np.frombuffer(message, dtype, count, first + at).reshape(shape)
    return header, arrays


def training_threads():
    """Return the playground's threads that train or draw."""
    return [thread for thread in threading.enumerate() if thread.name.startswith("fastnn playground ")]


def wait_for(condition):
    """Wait until a condition holds."""
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, f"the condition does not hold after {PATIENCE} seconds"
        time.sleep(0.01)


class FakePage:
    """A page without a connection: it keeps what a session sends, and reports every frame as drawn."""

    def __init__(self, table=None, draws=True):
        self.messages, self.frames, self.curves = [], [], []
        self._changed = threading.Condition()
        self._draws = draws
        self.session = Session(self._receive, table)

    def _receive(self, message):
        with self._changed:
            if isinstance(message, bytes):
                header, arrays = unpacked(message)
                self.frames.append((header, arrays))
                self.curves += arrays["curves"].tolist()
                if self._draws:
                    self.send("drawn", frame=header["frame"], run=header["run"])
            else:
                json.dumps(message, allow_nan=False)
                self.messages.append(message)
            self._changed.notify_all()

    def send(self, kind, **message):
        self.session.handle({"type": kind, **message})

    def start(self, run=1, **state):
        """Start a run, wait for its first frame, and return the run."""
        self.send("start", run=run, state=state)
        self.wait(lambda: self.frames and self.frames[-1][0]["run"] == run)
        return self.session.run

    def wait(self, condition):
        """Wait until a condition holds; it is checked after every message."""
        end = time.monotonic() + PATIENCE
        with self._changed:
            while not condition():
                assert time.monotonic() < end, f"the condition does not hold after {PATIENCE} seconds"
                self._changed.wait(0.5)

    def train_to(self, step, speed=20_000):
        """Train to `step` or beyond and pause at the end of an epoch; return the step that was reached.

        The speed bounds how far the training goes while a busy machine delays the pause.
        """
        self.send("speed", steps_per_second=speed)
        self.send("play")
        self.wait(lambda: self.frames[-1][0]["step"] >= step)
        return self.pause()

    def pause(self):
        """Pause at the end of an epoch; return the step."""
        self.send("pause")
        self.wait(lambda: not self.frames[-1][0]["playing"])
        steering, size = self.session.run.steering, self.session.run.problem.steps_per_epoch
        if steering.latest.step % size:
            self.send("epoch")
            self.wait(lambda: self.frames[-1][0]["step"] % size == 0)
        return steering.latest.step

    def received(self, kind):
        """Return the messages of a kind that have come so far."""
        return [message for message in self.messages if message["type"] == kind]

    def close(self):
        self.session.close()
        if self.session.run is not None:
            self.session.run.join()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
