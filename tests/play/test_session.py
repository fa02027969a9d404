"""Sessions: a training for each page, steered by its messages, with the same bits as `Model.train`."""

import functools
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from playing import FakePage, training_threads, wait_for
from processes import PATIENCE

import fastnn
from fastnn.play import compiling
from fastnn.play.compiling import note_compiled, reported_compilations
from fastnn.play.fields import RequestError
from fastnn.play.frames import Snapshot
from fastnn.play.problem import posed
from fastnn.play.saves import Saves
from fastnn.play.settings import Settings
from fastnn.play.steering import CURVE_COLUMNS, Steering
from fastnn_kernels.compiler import cache

STEPS = {"batch_size": 32, "optimizer": "adam"}  # 160 samples: 5 steps per epoch


def trained(state, n_passes):
    """Return a model that `Model.train` trained with the settings of a state."""
    problem, model = posed(Settings.of_state(state))
    model.train(*problem.training_data, n_passes, **problem.train_arguments)
    return model


def test_the_first_frame_comes_before_any_step():
    with FakePage() as page:
        run = page.start()
        header, arrays = page.frames[0]
        assert (header["frame"], header["step"], header["run"], header["playing"]) == (0, 0, 1, False)
        assert (arrays["points"] == run.problem.X.astype(np.float32)).all()
        assert arrays["labels"].tolist() == run.problem.y.tolist()
        assert arrays["is_test"].sum() == 40
        started = page.received("started")[0]
        assert started["layers_dim"] == [2, 3, 2]
        assert started["n_parameters"] == 17
        assert (started["n_train"], started["n_test"], started["steps_per_epoch"]) == (160, 40, 1)
        assert started["units"] == [[0, 0], [0, 1], [0, 2]]
        assert started["state"] == Settings().state


def test_a_view_that_changes_when_the_first_frame_arrives_is_drawn():
    class ZoomingPage(FakePage):
        def _receive(self, message):
            super()._receive(message)
            if isinstance(message, bytes) and len(self.frames) == 1:
                self.send("view", resolution=16)

    with ZoomingPage() as page:
        page.start()
        page.wait(lambda: page.frames[-1][1]["boundary"].shape == (16, 16))
        assert page.frames[0][1]["boundary"].shape == (256, 256)


@pytest.mark.parametrize("state", [{}, STEPS, {"batch_norm": True, "dropout": 0.3, **STEPS}], ids=str)
def test_single_steps_end_in_the_middle_of_an_epoch(state):
    with FakePage() as page:
        page.start(**state)
        for step in range(1, 8):
            page.send("step")
            page.wait(lambda step=step: page.frames[-1][0]["step"] == step)
        size = page.session.run.problem.steps_per_epoch
        assert page.frames[-1][0]["epoch"] == 7 // size
        page.send("epoch")
        page.wait(lambda: page.frames[-1][0]["step"] == (7 // size + 1) * size)
        page.send("epoch")
        page.wait(lambda: page.frames[-1][0]["step"] == (7 // size + 2) * size)
        n_passes = page.frames[-1][0]["epoch"]
        model = page.session.run.current_model()
    other = trained(state, n_passes)
    assert (model._parameters == other._parameters).all()
    assert (model._statistics == other._statistics).all()


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "lbfgs"])
def test_an_unlimited_training_has_the_bits_of_a_training_of_as_many_epochs(optimizer):
    state = {"optimizer": optimizer, "learning_rate": 0.001}
    with FakePage() as page:
        page.start(**state)
        page.send("speed", steps_per_second=20_000)
        page.send("play")
        page.wait(lambda: page.frames[-1][0]["step"] > 2500 or page.received("ended"))
        step = page.pause()
        model = page.session.run.current_model()
        assert optimizer == "lbfgs" or step > 2500
    assert (model._parameters == trained(state, step)._parameters).all()


def test_curves_measure_the_parameters_of_their_step():
    with FakePage() as page:
        run = page.start(**STEPS)
        page.train_to(300)
        model = run.current_model()
        curve = np.array(page.curves)
    assert curve.shape[1] == len(CURVE_COLUMNS)
    steps = curve[:, 0]
    assert (np.diff(steps) > 0).all()
    assert steps[0] == 1
    assert steps[-1] == run.steering.latest.step
    X, y = run.problem.training_data
    test = run.problem.test_data
    expected = [
        model.calculate_loss(X, y), model.calculate_loss(*test), (model.predict(X) == y).mean(),
        (model.predict(test[0]) == test[1]).mean(),
    ]  # fmt: skip
    np.testing.assert_allclose(curve[-1, 1:5], expected, rtol=1e-6)
    # The last columns are the norm of the gradient and the ratio of the update, as in a history.
    problem, other = posed(Settings.of_state(STEPS))
    history = other.train(X, y, 40, **problem.train_arguments)
    for n_passes in (1, 10, 40):
        at = np.flatnonzero(steps == 5 * n_passes)
        if at.size:
            record = history.gradient_norm[n_passes - 1], history.update_ratio[n_passes - 1].mean()
            np.testing.assert_allclose(curve[at[0], 5:], record, rtol=1e-6)


def test_curves_and_films_stay_small_in_long_runs():
    with FakePage() as page:
        run = page.start()
        page.train_to(200_000, speed=None)
        assert len(page.curves) < 4000
        film = run.steering.film
        assert 20 < len(film) <= 97
        filmed = [snapshot.step for snapshot in film]
        assert filmed[0] == 0
        assert (np.diff(filmed) > 0).all()
        assert filmed[-1] > 100_000


def test_a_run_of_a_schedule_ends_with_its_epochs():
    state = {"schedule": "cosine_decay", "passes": 1500, "batch_size": 40}
    with FakePage() as page:
        page.start(**state)
        page.send("play")
        page.wait(lambda: page.received("ended"))
        page.wait(lambda: page.frames[-1][0]["step"] == 6000 and not page.frames[-1][0]["playing"])
        assert "1,500 epochs" in page.received("ended")[0]["why"]
        model = page.session.run.current_model()
        page.send("step")  # no step is left: ignored
        page.send("view", mode="probability")
        page.wait(lambda: page.frames[-1][0]["mode"] == "probability")
    assert (model._parameters == trained(state, 1500)._parameters).all()


def test_reset_begins_again_with_the_same_parameters():
    with FakePage() as page:
        run = page.start(**STEPS)
        page.train_to(50)
        page.send("reset")
        page.wait(lambda: len(page.received("started")) == 2 and page.frames[-1][0]["step"] == 0)
        again = page.session.run
        assert again is not run
        run.join()
        assert (again.current_model()._parameters == run.problem.new_model()._parameters).all()


def test_a_run_sends_nothing_after_its_end_and_messages_about_it_are_ignored():
    with FakePage() as page:
        for _ in range(10):
            page.start(**STEPS)
            page.send("play")
            page.wait(lambda: page.frames[-1][0]["step"] > 0)
            count = len(page.received("started"))
            page.send("reset")
            page.send("drawn", frame=10**6, run=1)
            page.wait(lambda count=count: len(page.received("started")) > count)
            page.wait(lambda: page.frames[-1][0]["step"] == 0)
            page.session.run.close()
            page.session.run.join()
            # The last frame is of the new run: none of the old run has come after it.
            assert page.frames[-1][0]["step"] == 0
            assert page.session.run._drawn < page.session.run._frame


def test_speed_limits_the_steps():
    with FakePage() as page:
        page.send("speed", steps_per_second=50)
        run = page.start()
        began = time.perf_counter()
        page.send("play")
        page.wait(lambda: page.frames[-1][0]["step"] >= 10)
        page.send("pause")
        page.wait(lambda: not page.frames[-1][0]["playing"])
        seconds = time.perf_counter() - began
        # The machine may be slow: assert only that there are no more steps than the speed allows.
        assert run.steering.latest.step <= 50 * seconds + 2
        page.train_to(20_000, speed=None)


def test_the_speed_is_measured_in_steps_as_it_is_set():
    steps_per_epoch = 8
    steering = Steering(None, Snapshot(0, 0, np.empty(0), np.empty(0)), steps_per_epoch, 50.0, lambda: None)
    assert steering._measured_speed(10.0, 0) == 0  # paused
    steering.play()
    assert [steering._measured_speed(10 + k / 2, 25 * k) for k in range(4)] == [0, 50, 50, 50]


def test_the_limit_of_the_speed_may_be_lifted_while_steps_are_counted_by_it(monkeypatch):
    steering = Steering(None, Snapshot(0, 0, np.empty(0), np.empty(0)), 1, 50.0, lambda: None)
    steering.play()
    lifting = threading.Thread(target=steering.set_speed, args=(None,))

    def now():
        if threading.current_thread() is threading.main_thread() and lifting.ident is None:
            lifting.start()
            lifting.join(0.5)
        return time.perf_counter()

    monkeypatch.setattr("fastnn.play.steering.time", SimpleNamespace(perf_counter=now))
    assert steering.next_step(SimpleNamespace(trainer=SimpleNamespace(n_steps=0))) == 1
    lifting.join()
    assert steering._due(0) == np.inf


def test_a_large_network_is_sketched_while_it_trains_and_drawn_in_full_when_it_rests():
    layers = {"layers": [128, 128, 128], "activations": ["relu"] * 3, "n_samples": 20, "learning_rate": 1e-6}

    def shapes(frame):
        return frame[1]["boundary"].shape[0], frame[1]["units"].shape[1]

    with FakePage() as page:
        page.send("view", sample=0)
        page.start(**layers)
        page.wait(lambda: shapes(page.frames[-1]) == (256, 32) and "update" in page.frames[-1][0])
        assert shapes(page.frames[0]) == (64, 16)
        page.send("play")
        page.wait(lambda: page.frames[-1][0]["playing"] and page.frames[-1][0]["step"] > 5)
        assert shapes(page.frames[-1]) == (64, 16)
        page.send("pause")
        page.wait(lambda: not page.frames[-1][0]["playing"] and shapes(page.frames[-1]) == (256, 32))
        rested = [frame for frame in page.frames if frame[0]["step"] == page.frames[-1][0]["step"]]
        assert shapes(rested[-2]) == (64, 16)
        assert ["update" in header for header, _ in rested[-2:]] == [False, True]


def test_a_page_that_does_not_draw_gets_two_frames_while_the_training_continues():
    with FakePage(draws=False) as page:
        run = page.start()
        page.send("play")
        page.wait(lambda: len(page.frames) == 2)
        while run.steering.latest.step < 20_000:
            time.sleep(0.01)
        assert [header["frame"] for header, _ in page.frames] == [0, 1]
        page.send("drawn", frame=0, run=99)  # about another run: ignored
        page.send("drawn", frame=0)
        page.wait(lambda: len(page.frames) == 3)
        assert page.frames[-1][0]["step"] >= 20_000


def test_divergence_is_reported_and_the_last_finite_parameters_are_kept():
    with FakePage() as page:
        run = page.start(learning_rate=100.0, activations=["relu"], output_activation="identity", l2=50.0)
        page.send("play")
        page.wait(lambda: page.received("ended"))
        ended = page.received("ended")[0]
        assert "diverged" in ended["why"]
        assert ended["failed"]
        assert np.isfinite(run.current_model()._parameters).all()


def test_bad_settings_do_not_end_the_run():
    with FakePage() as page:
        run = page.start()
        page.send("play")
        for state in (
            {"layers": [10_000], "activations": ["tanh"]},
            {"loss": "squared_error"},
            {"seed": "x"},
        ):
            with pytest.raises(RequestError):
                page.send("start", run=2, state=state)
        assert page.session.run is run
        before = run.steering.latest.step
        page.wait(lambda: page.frames[-1][0]["step"] > before)


def test_the_training_pauses_while_a_new_one_is_prepared(monkeypatch):
    prepared = []

    def prepare(settings, table):
        run = page.session.run
        if run is not None:
            # The current chunk of steps ends. Then the thread that trains waits, though the training plays,
            # and the one that draws waits, though the view has changed.
            wait_for(lambda: run.steering._changed._waiters and run._wake._waiters)
            before = run.steering.latest.step, len(page.frames)
            page.send("view", sample=1)
            time.sleep(0.2)
            prepared.append((run.steering.latest.step, len(page.frames)) == before)
        if settings.seed == 13:
            raise RequestError("seed", "not this one")
        return posed(settings, table)

    monkeypatch.setattr("fastnn.play.session.posed", prepare)
    with FakePage() as page:
        run = page.start()
        page.send("play")
        page.wait(lambda: page.frames[-1][0]["step"] > 100)
        with pytest.raises(RequestError, match="not this one"):
            page.send("start", run=2, state={"seed": 13})
        before = run.steering.latest.step
        page.wait(lambda: page.frames[-1][0]["step"] > before and page.frames[-1][0]["playing"])
        page.start(run=3)
        assert prepared == [True, True]
        assert page.session.run is not run
        run.join()


def test_numbers_that_cannot_be_set_by_hand_are_refused():
    with FakePage() as page:
        run = page.start(passes=20)
        parts = page.received("started")[0]["layout"]
        taken = {k for part in parts for k in range(part["offset"], part["offset"] + np.prod(part["shape"]))}
        between = next(k for k in range(max(taken) + 2) if k not in taken)
        for wrong in (
            {"index": between},
            {"index": 10**6},
            {"index": -1},
            {"index": "0"},
            {"value": "1"},
            {"value": 1e7},
        ):
            with pytest.raises(RequestError, match="there is no parameter number|a weight must be"):
                page.send("parameter", **({"index": 0, "value": 0.5} | wrong))
        page.send("parameter", index=0, value=None)  # nothing to take back: ignored
        page.send("parameter", run=7, index=0, value=1.0)  # of a run that has been replaced: ignored
        page.send("step")
        page.wait(lambda: page.frames[-1][0]["step"] == 1)
        assert run.steering.set_by_hand == []
        page.send("play")
        page.wait(lambda: page.received("ended"))
        with pytest.raises(RequestError, match="beginning"):
            page.send("parameter", index=0, value=1.0)
        page.start(run=2, optimizer="lbfgs")
        with pytest.raises(RequestError, match="L-BFGS"):
            page.send("parameter", index=0, value=1.0)


def test_numbers_that_were_set_by_hand_are_taken_back_exactly():
    with FakePage() as page:
        run = page.start()
        before = run.current_model()._parameters
        for value, expected in ((2.0, 2.0), (3.0, 3.0), (None, 2.0), (None, before[4])):
            page.send("parameter", index=4, value=value)
            page.wait(lambda expected=expected: run.current_model()._parameters[4] == expected)
        assert (run.current_model()._parameters == before).all()
        # The curves show the leap of the loss at a step.
        page.train_to(10)
        page.send("parameter", index=4, value=9.0)
        page.wait(lambda: page.curves[-1][0] == page.curves[-2][0])
        assert page.curves[-1][1] != page.curves[-2][1]


def test_commands_to_an_ended_training_report_its_end_again():
    with FakePage() as page:
        run = page.start(passes=20)
        page.send("play")
        page.wait(lambda: page.received("ended"))
        page.send("pause")
        for count, kind in enumerate(("play", "step", "epoch"), 2):
            page.send(kind)
            page.wait(lambda count=count: len(page.received("ended")) == count)
        assert len({message["why"] for message in page.received("ended")}) == 1
        assert not run.steering.latest.playing


@pytest.mark.parametrize("broken", ["train", "draw"])
def test_errors_of_both_threads_are_reported_and_the_training_stops(broken, monkeypatch):
    def fail(*arguments, **named):
        raise MemoryError("no room")

    with FakePage() as page:
        run = page.start()
        page.send("play")
        page.wait(lambda: page.frames[-1][0]["step"] > 100)
        if broken == "train":
            monkeypatch.setattr(run.steering, "observe", fail)
        else:
            monkeypatch.setattr(run._artist, "draw", fail)
        page.wait(lambda: page.received("ended"))
        ended = page.received("ended")[0]
        assert ended["failed"]
        assert "MemoryError: no room" in ended["why"]
        page.send("play")
        page.wait(lambda: len(page.received("ended")) == 2)
        wait_for(lambda: not run.steering.latest.playing)  # another thread may be within a chunk of steps
        monkeypatch.undo()
        page.start(run=2)
        page.send("step")
        page.wait(lambda: page.frames[-1][0]["step"] == 1)


def test_points_that_no_page_draws_are_thinned_out(monkeypatch):
    monkeypatch.setattr("fastnn.play.steering.CURVE_SECONDS", 0.0)
    monkeypatch.setattr("fastnn.play.steering.MAX_POINTS", 20)
    with FakePage(draws=False) as page:
        run = page.start()
        page.send("play")
        page.wait(lambda: len(page.frames) == 2)
        before = run.steering.latest.step
        wait_for(lambda: run.steering.latest.step > before + 50_000)
        points = run.steering.take_points()
        assert 5 < len(points) <= 20
        steps = [point[0] for point in points]
        assert steps == sorted(steps)


@pytest.mark.parametrize(
    "message",
    [
        {"type": "speed", "steps_per_second": 0},
        {"type": "speed", "steps_per_second": "fast"},
        {"type": "view", "mode": "heat"},
        {"type": "view", "resolution": 5000},
        {"type": "view", "resolution": 0},
        {"type": "view", "sample": -1},
        {"type": "start", "run": "1"},
        {"type": "start", "state": 3},
        {"type": "fly"},
        {"type": ["play"]},
        {},
    ],
    ids=str,
)
def test_bad_messages_are_refused(message):
    with FakePage() as page:
        page.start()
        with pytest.raises(RequestError):
            page.session.handle(message)


def test_commands_before_a_start_are_refused():
    page = FakePage()
    page.send("pause")  # nothing to pause: ignored
    for kind in ("play", "step", "epoch", "reset"):
        with pytest.raises(RequestError, match="start"):
            page.send(kind)
    page.send("speed", steps_per_second=5)
    page.send("view", mode="probability")
    page.send("drawn", frame=0)


def test_a_new_start_ends_the_old_training():
    with FakePage() as page:
        old = page.start(run=1)
        page.send("play")
        page.start(run=2, dataset="circles")
        old.join()
        assert [header["run"] for header, _ in page.frames][-1] == 2
    wait_for(lambda: not training_threads())  # threads of other tests may be ending


def test_closing_a_session_ends_its_threads_whatever_they_do():
    pages = [FakePage() for _ in range(3)]
    for page in pages:
        page.start()
    pages[0].send("play")
    pages[1].send("speed", steps_per_second=0.01)
    pages[1].send("play")
    for page in pages:
        page.close()
    wait_for(lambda: not training_threads())  # threads of other tests may be ending


def test_compilations_are_reported():
    reports, reports_elsewhere = [], []
    begun, ended = threading.Event(), threading.Event()

    def compile_elsewhere():
        with reported_compilations(reports_elsewhere.append):
            compiling._announce(())  # called when a thread acquires numba's lock for a kernel
            begun.set()
            ended.wait(PATIENCE)

    wait_for(lambda: not compiling._compiling)  # a server of another test may be compiling
    compiling._announce(())  # nothing listens in this thread
    with reported_compilations(reports.append):
        note_compiled()
        assert reports == []
        compiling._announce(())
        compiling._announce(())
        note_compiled()
        note_compiled()
        assert reports == [True, True, False]
        reports.clear()
    assert reports == []
    thread = threading.Thread(target=compile_elsewhere)
    thread.start()
    begun.wait(PATIENCE)
    with reported_compilations(reports.append):  # this thread would wait for the other one
        assert reports == [True]
    assert reports == [True, False]
    ended.set()
    thread.join()
    assert reports_elsewhere == [True, False]


def test_a_compilation_is_reported_to_the_page_once():
    with FakePage() as page:
        run = page.start()
        page.messages.clear()
        for busy in (True, True, False, False):
            run._report_compiling(busy)
        assert [message["busy"] for message in page.received("compiling")] == [True, False]


def test_the_page_learns_last_which_compilation_began_last():
    with FakePage() as page:
        run = page.start()
        page.send("step")  # its kernels report no compilation afterwards
        page.wait(lambda: page.frames[-1][0]["step"] == 1)
        page.messages.clear()
        run._report_compiling(True)
        other = threading.Thread(target=run._report_compiling, args=(True,))
        send, end = run.send, {"type": "compiling", "run": 1, "busy": False}

        def send_late(message):
            if message == end:
                other.start()
                other.join(0.5)
            send(message)

        run.send = send_late
        run._report_compiling(False)
        other.join()
        assert [message["busy"] for message in page.received("compiling")] == [True, False, True]


def test_a_compilation_ends_for_the_page_though_nothing_is_trained(monkeypatch):
    begun, ended = threading.Event(), threading.Event()

    def compile_elsewhere():
        with reported_compilations():
            compiling._announce(())
            begun.set()
            ended.wait(PATIENCE)

    @functools.wraps(fastnn.Model.train)
    def train(self, *arguments, **options):
        compiling._announce(())  # as for a trainer's kernels
        return train.__wrapped__(self, *arguments, **options)

    monkeypatch.setattr(fastnn.Model, "train", train)
    thread = threading.Thread(target=compile_elsewhere)
    thread.start()
    begun.wait(PATIENCE)
    with FakePage() as page:
        page.start()
        ended.set()
        thread.join()
        page.wait(lambda: page.received("compiling") and not page.received("compiling")[-1]["busy"])
        assert page.frames[-1][0]["step"] == 0


@pytest.mark.slow
def test_new_kernels_are_announced_before_they_are_compiled():
    script = """
from playing import FakePage
with FakePage() as page:
    run = page.start(dtype="float32", optimizer="adagrad")
    page.train_to(5)
    page.wait(lambda: page.received("compiling") and not page.received("compiling")[-1]["busy"])
    print(page.received("compiling")[0]["busy"])
"""
    with tempfile.TemporaryDirectory() as folder:
        # Only the rules of optimizers have to be compiled if other tests have compiled the other kernels.
        kernels = Path(folder) / "fastnn_kernels"
        kernels.mkdir()
        for entry in (path for known in cache.cache_folders() for path in known.glob("*.nbc")):
            if ".update." not in entry.name:
                shutil.copy(entry, kernels)
        environment = {
            **os.environ, "NUMBA_CACHE_DIR": folder, "FASTNN_PREBUILT": "0",
            "PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[1] / "helpers"), *sys.path]),
        }  # fmt: skip
        done = subprocess.run(
            [sys.executable, "-c", script], env=environment, capture_output=True, text=True, timeout=PATIENCE
        )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "True\n"


def loaded_model(run, folder):
    """Save the model of a run; return the loaded model and the name of the file."""
    saves = Saves()
    number, name = saves.save(run, "model")
    (folder / name).write_bytes(saves.get(number).content)
    return fastnn.load(folder / name), name


@pytest.mark.parametrize(
    "state", [{}, {"loss": "sigmoid_binary_cross_entropy"}, {"dataset": "surface"}], ids=str
)
def test_networks_on_computed_features_are_saved_with_pictures_over_the_plane(state, tmp_path):
    with FakePage() as page:
        page.send("view", mode="probability")
        run = page.start(**state, features=["x1", "x2_squared", "x1_x2"])
        page.send("step")
        page.wait(lambda: page.frames[-1][0]["step"] == 1)
        loaded, name = loaded_model(run, tmp_path)
        assert "-3-3-" in name
        x1, x2 = run.problem.X.T
        inputs = np.column_stack([x1, x2**2, x1 * x2])
        assert (loaded.predict(inputs) == run.current_model().predict(inputs)).all()
        saves = Saves()
        for what, start in (("picture", b"\x89PNG"), ("gif", b"GIF89a")):
            assert saves.get(saves.save(run, what)[0]).content.startswith(start)


@pytest.mark.parametrize(
    "state",
    [
        {},
        {"optimizer": "adam", "reduction": "mean", "batch_size": 32, "dropout": 0.2, "batch_norm": True},
        {"schedule": "cosine_decay", "passes": 3000, "batch_size": 32},
        {"optimizer": "lbfgs"},
    ],
    ids=["gradient descent", "adam", "schedule", "lbfgs"],
)
def test_saved_models_resume_with_the_same_bits(state, tmp_path):
    with FakePage() as page:
        run = page.start(**state)
        for _ in range(7):  # with batches of 32, the seventh step is in the middle of an epoch
            page.send("step")
        page.wait(lambda: page.frames[-1][0]["step"] == 7)
        loaded, name = loaded_model(run, tmp_path)
        assert name == "moons-2-3-2.fastnn"
        assert (loaded._parameters == run.current_model()._parameters).all()
        page.send("step")  # the training of the page continues, too
        page.wait(lambda: page.frames[-1][0]["step"] == 8)
        problem = run.problem
    arguments = problem.train_arguments
    n_passes = problem.settings.n_passes or 50
    loaded.train(*problem.training_data, n_passes, resume=True, **arguments)
    at_once = problem.new_model()
    at_once.train(*problem.training_data, n_passes, **arguments)
    assert (loaded._parameters == at_once._parameters).all()


def test_models_are_saved_before_during_and_after_a_training(tmp_path):
    with FakePage() as page:
        run = page.start(passes=20_000)
        assert (loaded_model(run, tmp_path)[0]._parameters == run.model._parameters).all()
        page.send("play")
        page.wait(lambda: page.frames[-1][0]["step"] > 100)
        for _ in range(5):
            loaded_model(run, tmp_path)
        page.wait(lambda: page.received("ended"))
        loaded, _ = loaded_model(run, tmp_path)
        at_once = run.problem.new_model()
    at_once.train(*run.problem.training_data, 20_000, **run.problem.train_arguments)
    assert (loaded._parameters == at_once._parameters).all()
    assert "20,000 epochs is done" in page.received("ended")[0]["why"]


def test_saving_a_model_does_not_wait_for_a_run_that_is_closed(tmp_path):
    with FakePage() as page:
        run = page.start()
        page.close()
        assert (loaded_model(run, tmp_path)[0]._parameters == run.model._parameters).all()


def test_saving_a_model_does_not_wait_for_a_run_that_has_failed(tmp_path, monkeypatch):
    def fail(*arguments):
        raise RuntimeError("no picture")

    monkeypatch.setattr("fastnn.play.frames.Artist.draw", fail)
    with FakePage() as page:
        page.send("start", run=1, state={})
        page.wait(lambda: page.received("ended"))
        run = page.session.run
        assert "no picture" in page.received("ended")[0]["why"]
        assert (loaded_model(run, tmp_path)[0]._parameters == run.model._parameters).all()
