"""A page of the playground without a browser or a server, and a function that unpacks its messages."""

import json
import time

import numpy as np
from processes import PATIENCE

import fastnn
from fastnn.play.learning_problem import make_problem
from fastnn.play.session import Session
from fastnn.play.settings import Settings


def unpack(message):
    """Return the header and the arrays of a binary message."""
    length = int.from_bytes(message[:4], "little")
    header = json.loads(message[4 : 4 + length])
    first = 4 + length
    assert first % 8 == 0
    arrays = {}
    for name, (at, kind, shape) in header["arrays"].items():
        assert at % 8 == 0
        dtype = np.dtype(f"<{kind}")
        arrays[name] = np.frombuffer(message, dtype, int(np.prod(shape)), first + at).reshape(shape)
    return header, arrays


def numbers_of(model):
    """Return all weights, biases and numbers of the batch normalisations of a model."""
    parts = [*model.W, *model.b, *(part for norm in model.batch_norm for part in norm)]
    return np.concatenate([np.ravel(part) for part in parts])


def train_alone(state, n_epochs, table=None):
    problem, model = make_problem(Settings.of_state(state), table)
    model.train(*problem.training_data, n_epochs, **problem.train_arguments)
    return model


class FakePage:
    """A page without a connection: it keeps what a session sends, and reports every frame as drawn."""

    def __init__(self, table=None, draws=True):
        self.messages, self.frames, self.files, self.curves = [], [], [], []
        self._sent, self._draws = [], draws
        self.session = Session(self._sent.append, table)

    def _read(self):
        while self._sent:
            message = self._sent.pop(0)
            if not isinstance(message, bytes):
                self.messages.append(json.loads(message))
                continue
            header, arrays = unpack(message)
            if header["type"] == "saved":
                self.files.append((header["name"], arrays["content"].tobytes()))
                continue
            self.frames.append((header, arrays))
            self.curves += arrays["curves"].tolist()
            if self._draws:
                self.send("drawn", frame=header["frame"], run=header["run"])

    def send(self, kind, **message):
        self.session.handle({"type": kind, **message})
        self._read()

    def start(self, run=1, **state):
        self.send("start", run=run, state=state)
        self.wait(lambda: self.frames and self.frames[-1][0]["run"] == run)
        return self.session.run

    def wait(self, condition):
        """Let the session advance until a condition holds."""
        end = time.monotonic() + PATIENCE
        while not condition():
            seconds = self.session.advance()
            self._read()
            assert seconds is not None or condition(), "the session waits for a message"
            assert time.monotonic() < end, f"the condition does not hold after {PATIENCE} seconds"
            time.sleep(seconds or 0.0)

    def rest(self):
        """Let the session advance until only a message gives it more to do."""
        while (seconds := self.session.advance()) is not None:
            self._read()
            time.sleep(seconds)
        self._read()

    def train_to(self, step, speed=20_000):
        """Train to `step` or beyond and pause at the end of an epoch; return the step that was reached.

        The speed bounds how far the training goes on a busy machine.
        """
        self.send("speed", steps_per_second=speed)
        self.send("play")
        self.wait(lambda: self.frames[-1][0]["step"] >= step)
        return self.pause()

    def pause(self):
        self.send("pause")
        run = self.session.run
        if run.latest.step % run.problem.steps_per_epoch:
            self.send("epoch")
        self.rest()
        assert not self.frames[-1][0]["playing"]
        return run.latest.step

    def save(self, what):
        self.send("save", what=what)
        count = len(self.files)
        self.wait(lambda: len(self.files) > count)
        return self.files[-1]

    def load_model(self, folder):
        name, content = self.save("model")
        (folder / name).write_bytes(content)
        return fastnn.load(folder / name)

    def step(self, count=1):
        for _ in range(count):
            step = self.session.run.latest.step + 1
            self.send("step")
            self.wait(lambda step=step: self.session.run.latest.step == step)

    @property
    def model(self):
        """Model after the last step."""
        return self.session.run.model_of(self.session.run.latest)

    def end(self):
        """Play to the end of the run, and return the message that says why."""
        self.send("play")
        self.wait(lambda: self.received("ended"))
        return self.received("ended")[0]

    def received(self, kind):
        return [message for message in self.messages if message["type"] == kind]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.session.close()
