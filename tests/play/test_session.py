"""Sessions: a training for each page, steered by its messages, with the same bits as `Model.train`."""

import time

import numpy as np
import pytest
from playing import FakePage, numbers_of, train_alone

from fastnn.play.fields import RequestError
from fastnn.play.learning_problem import make_problem
from fastnn.play.pace import Pace
from fastnn.play.recording import CURVE_COLUMNS
from fastnn.play.settings import Settings

STEPS = {"batch_size": 32, "optimizer": "adam"}  # 160 samples: 5 steps per epoch


def test_the_first_frame_comes_before_any_step(page):
    run = page.start()
    header, arrays = page.frames[0]
    assert (header["frame"], header["step"], header["run"], header["playing"]) == (0, 0, 1, False)
    assert (arrays["points"] == run.problem.X.astype(np.float32)).all()
    assert (arrays["labels"].tolist(), arrays["is_test"].sum()) == (run.problem.y.tolist(), 40)
    started = page.received("started")[0]
    assert started["layers_dim"] == [2, 3, 2]
    assert (started["n_parameters"], started["n_train"], started["n_test"]) == (17, 160, 40)
    assert started["state"] == Settings().state
    page.start(run=2, features=["x2", "x1_squared"])
    assert page.received("started")[1]["features"] == ["x2", "x1²"]


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "lbfgs"])
def test_single_steps_and_an_unlimited_training_have_the_bits_of_as_many_epochs(page, optimizer):
    state = {"optimizer": optimizer, "learning_rate": 0.001}
    if optimizer == "adam":
        state |= {"batch_norm": True, "dropout": 0.3, "batch_size": 32}
    run = page.start(**state)
    page.step(7)
    size = run.problem.steps_per_epoch
    assert run.latest.epoch == 7 // size
    for n_epochs in (7 // size + 1, 7 // size + 2):
        page.send("epoch")
        page.wait(lambda n_epochs=n_epochs: page.frames[-1][0]["step"] == n_epochs * size)
    assert (numbers_of(page.model) == numbers_of(train_alone(state, n_epochs))).all()
    page.send("speed", steps_per_second=20_000)
    page.send("play")
    page.wait(lambda: page.frames[-1][0]["step"] > 2500 or page.received("ended"))
    step, model = page.pause(), page.model
    assert optimizer == "lbfgs" or step > 2500
    assert (numbers_of(model) == numbers_of(train_alone(state, step // size))).all()


LIVE = {"learning_rate": 0.05, "l2": 0.2, "l1": 0.01, "batch_size": 20, "clip_norm": 2.0, "max_norm": 3.0}


def test_settings_of_a_running_training_change_without_a_restart(page):
    run = page.start()
    page.train_to(100)
    before = run.latest
    page.send("change", run=1, state=run.problem.settings.state | LIVE)
    page.rest()
    assert page.session.run is run
    assert (run.latest.parameters == before.parameters).all()
    (changed,) = page.received("changed")
    assert {name: changed["state"][name] for name in LIVE} == LIVE
    assert (changed["run"], changed["l2"]) == (1, 0.2)
    page.send("epoch")  # of eight steps now
    page.wait(lambda: page.frames[-1][0]["step"] == before.step + 8)
    assert page.frames[-1][0]["epoch"] == before.epoch + 1
    other = train_alone({}, before.epoch)
    problem = make_problem(Settings.of_state(LIVE))[0]
    other.train(*problem.training_data, 1, **problem.train_arguments)
    assert (numbers_of(page.model) == numbers_of(other)).all()
    assert np.diff(np.array(page.curves)[:, 0]).min() > 0
    # Fields that are not live stay as they are, and so does all of it if one is refused.
    page.send("change", run=1, state={"layers": [9], "noise": 1.0})
    assert (run.problem.settings.layers, run.problem.settings.noise) == ((3,), 0.2)
    with pytest.raises(RequestError, match="l2 must be"):
        page.send("change", run=1, state={"l2": -1, "l1": 0.5})
    page.send("change", run=7, state={"l1": 0.5})  # of a run that has been replaced: ignored
    assert run.problem.settings.l1 == 0.0


def test_a_schedule_and_the_end_of_a_run_continue_over_a_change(page):
    state = {"schedule": "cosine_decay", "passes": 40, **STEPS}
    page.send("view", sample=0)
    run = page.start(**state)
    page.step(12)
    page.send("change", run=1, state=state | {"learning_rate": 0.02, "batch_size": 80})
    page.rest()
    rate = page.frames[-1][0]["update"]["rate"]
    assert rate == pytest.approx(0.01 * (1 + np.cos(np.pi * 12 / (12 + 38 * 2))))
    assert "the run of 40 epochs is done" in page.end()["why"]
    assert (run.latest.epoch, run.latest.step) == (40, 12 + 38 * 2)
    with pytest.raises(RequestError, match="has ended: restart it"):
        page.send("change", run=1, state={"l2": 0.5})
    page.start(run=2, optimizer="lbfgs")
    with pytest.raises(RequestError, match="L-BFGS continues"):
        page.send("change", run=2, state={"optimizer": "lbfgs", "l2": 0.5})


def test_curves_measure_the_parameters_of_their_step(page):
    run = page.start(**STEPS)
    page.train_to(300)
    problem, model, curve = run.problem, page.model, np.array(page.curves)
    assert curve.shape[1] == len(CURVE_COLUMNS)
    steps = curve[:, 0]
    assert (np.diff(steps) > 0).all()
    assert (steps[0], steps[-1]) == (1, run.latest.step)
    train, test = ((problem.X[rows], problem.y[rows]) for rows in (problem.train, problem.test))
    expected = [model.calculate_loss(*train), model.calculate_loss(*test)]
    expected += [(model.predict(X) == y).mean() for X, y in (train, test)]
    np.testing.assert_allclose(curve[-1, 1:5], expected, rtol=1e-6)
    # The last columns are the norm of the gradient and the ratio of the update, as in a history.
    history = train_alone(STEPS, 40).history_
    for n_epochs in (1, 10, 40):
        at = np.flatnonzero(steps == 5 * n_epochs)
        if at.size:
            record = history.gradient_norm[n_epochs - 1], history.update_ratio[n_epochs - 1].mean()
            np.testing.assert_allclose(curve[at[0], 5:], record, rtol=1e-6)


def test_curves_and_films_stay_small_in_long_runs(page):
    run = page.start()
    page.train_to(200_000, speed=None)
    assert len(page.curves) < 4000
    filmed = [snapshot.step for snapshot in run.film]
    assert 15 < len(filmed) <= 33
    assert filmed[0] == 0
    assert (np.diff(filmed) > 0).all()
    assert filmed[-1] > 100_000


def test_speed_limits_the_steps(page):
    page.send("speed", steps_per_second=50)
    run = page.start()
    began = time.perf_counter()
    page.send("play")
    page.wait(lambda: page.frames[-1][0]["step"] >= 10)
    # The machine may be slow: assert only that there are no more steps than the speed allows.
    assert run.latest.step <= 50 * (time.perf_counter() - began) + 2
    page.train_to(20_000, speed=None)


def test_the_speed_is_measured_in_steps_as_it_is_set(monkeypatch):
    now = [10.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    pace = Pace(8, 50.0)
    assert pace.measure(0) == 0  # paused
    pace.play(0)
    measured = []
    for _ in range(4):
        measured.append(pace.measure(int(50 * (now[0] - 10))))
        now[0] += 0.5
    assert measured == [0, 50, 50, 50]
    assert pace.due(90) == 11  # two seconds have passed
    now[0] += 2
    assert pace.due(100) == 1  # a late training does not catch up


def test_pictures_have_fewer_pixels_while_the_network_changes(page):
    large = {"layers": [128] * 3, "activations": ["relu"] * 3, "n_samples": 20, "learning_rate": 1e-6}

    def sizes(frame):
        return frame[1]["boundary"].shape[0], frame[1]["units"].shape[1]

    page.send("view", sample=0, resolution=400)
    page.start(run=1)
    page.rest()
    assert [sizes(frame) for frame in page.frames] == [(256, 32), (400, 32)]
    page.start(run=2, **large)
    page.rest()
    assert (sizes(page.frames[2]), sizes(page.frames[-1])) == ((64, 16), (400, 32))
    assert "update" in page.frames[-1][0]
    page.send("play")
    page.wait(lambda: page.frames[-1][0]["playing"] and page.frames[-1][0]["step"] > 5)
    assert sizes(page.frames[-1]) == (64, 16)
    page.send("pause")
    page.rest()
    rested = page.frames[-2:]
    assert [sizes(frame) for frame in rested] == [(64, 16), (400, 32)]
    assert ["update" in header for header, _ in rested] == [False, True]


def test_a_page_that_does_not_draw_gets_two_frames_while_the_training_continues():
    with FakePage(draws=False) as page:
        run = page.start()
        page.send("play")
        page.wait(lambda: run.latest.step >= 50_000)
        assert [header["frame"] for header, _ in page.frames] == [0, 1]
        page.send("drawn", frame=0, run=99)  # about another run: ignored
        page.curves.clear()
        page.send("drawn", frame=0)
        page.wait(lambda: len(page.frames) == 3)
        assert page.frames[-1][0]["step"] >= 50_000
        assert (np.diff([point[0] for point in page.curves]) > 0).all()


def test_numbers_that_cannot_be_set_by_hand_are_refused(page):
    run = page.start(passes=20)
    parts = page.received("started")[0]["layout"]
    taken = {k for part in parts for k in range(part["offset"], part["offset"] + np.prod(part["shape"]))}
    between = next(k for k in range(max(taken) + 2) if k not in taken)
    wrong = [{"index": index} for index in (between, 10**6, -1, "0")] + [{"value": "1"}, {"value": 1e7}]
    for message in wrong:
        with pytest.raises(RequestError, match="there is no parameter number|a weight must be"):
            page.send("parameter", **({"index": 0, "value": 0.5} | message))
    page.send("parameter", index=0, value=None)  # nothing to take back: ignored
    page.send("parameter", run=7, index=0, value=1.0)  # of a run that has been replaced: ignored
    page.step()
    assert run.set_by_hand == []
    page.end()
    with pytest.raises(RequestError, match="restart it"):
        page.send("parameter", index=0, value=1.0)


def test_numbers_that_were_set_by_hand_are_taken_back_exactly(page):
    run = page.start()
    before = run.latest.parameters
    for value, expected in ((2.0, 2.0), (3.0, 3.0), (None, 2.0), (None, before[4])):
        page.send("parameter", index=4, value=value)
        page.wait(lambda expected=expected: run.latest.parameters[4] == expected)
    assert (run.latest.parameters == before).all()
    # The curves show the leap of the loss at a step.
    page.train_to(10)
    page.send("parameter", index=4, value=9.0)
    page.wait(lambda: page.curves[-1][0] == page.curves[-2][0])
    assert page.curves[-1][1] != page.curves[-2][1]


def test_commands_to_an_ended_training_report_its_end_again(page):
    state = {"schedule": "cosine_decay", "passes": 1500, "batch_size": 40}
    page.start(**state)
    assert "1,500 epochs" in page.end()["why"]
    page.send("pause")
    for count, kind in enumerate(("play", "step", "epoch"), 2):
        page.send(kind)
        page.wait(lambda count=count: len(page.received("ended")) == count)
    assert len({message["why"] for message in page.received("ended")}) == 1
    page.send("view", mode="probability")
    page.wait(lambda: page.frames[-1][0]["mode"] == "probability")
    assert (page.frames[-1][0]["step"], page.frames[-1][0]["playing"]) == (6000, False)
    assert (numbers_of(page.model) == numbers_of(train_alone(state, 1500))).all()


@pytest.mark.parametrize("broken", ["recording.Recorder.observe", "frames.Artist.draw", None])
def test_errors_and_divergence_are_reported_and_the_training_stops(page, broken, monkeypatch, tmp_path):
    def fail(*arguments, **named):
        raise MemoryError("no room")

    diverging = {"learning_rate": 100.0, "activations": ["relu"], "output_activation": "identity", "l2": 50.0}
    page.start(**({} if broken else diverging))
    with monkeypatch.context() as patched:
        if broken:
            patched.setattr(f"fastnn.play.{broken}", fail)
        ended = page.end()
    assert ended["failed"]
    assert ("MemoryError: no room" if broken else "diverged") in ended["why"]
    assert np.isfinite(page.session.run.latest.parameters).all()
    assert (numbers_of(page.load_model(tmp_path)) == numbers_of(page.session.run.model)).all()
    page.start(run=2)
    page.step()


REFUSED = [{"type": "view", **wrong} for wrong in ({"mode": "heat"}, {"resolution": 5000}, {"sample": -1})]
REFUSED += [{"type": "start", "run": "1"}, {"type": "start", "state": 3}, {"type": ["play"]}, {}]
REFUSED += [{"type": "speed", "steps_per_second": 0}, {"type": "change", "state": {"l2": "much"}}]
REFUSED += [{"type": "start", "run": 2, "state": {"loss": "squared_error"}}]


def test_messages_that_are_bad_or_come_before_a_start_are_refused_and_the_run_continues(page):
    for kind in ("play", "step", "epoch", "script", "save", "change", "parameter"):
        with pytest.raises(RequestError, match="start"):
            page.send(kind)
    for kind in ("pause", "drawn"):  # nothing to pause or to draw: ignored
        page.send(kind, frame=0)
    run = page.start()
    page.send("play")
    for message in REFUSED:
        with pytest.raises(RequestError):
            page.session.handle(message)
    assert page.session.run is run
    step = run.latest.step
    page.wait(lambda: page.frames[-1][0]["step"] > step)


RESUMED = {
    "gradient descent": {},
    "adam": {"optimizer": "adam", "reduction": "mean", "batch_size": 32, "dropout": 0.2, "batch_norm": True},
    "schedule": {"schedule": "cosine_decay", "passes": 3000, "batch_size": 32},
    "lbfgs": {"optimizer": "lbfgs"},
}


@pytest.mark.parametrize("name", RESUMED)
def test_saved_models_resume_with_the_same_bits(page, name, tmp_path):
    state = RESUMED[name]
    run = page.start(**state)
    assert (numbers_of(page.load_model(tmp_path)) == numbers_of(run.model)).all()
    page.step(7)  # with batches of 32, the seventh step is in the middle of an epoch
    loaded = page.load_model(tmp_path)
    assert (numbers_of(loaded) == numbers_of(page.model)).all()
    page.step()  # the training of the page continues, too
    problem = run.problem
    n_epochs = problem.settings.n_passes or 50
    loaded.train(*problem.training_data, n_epochs, resume=True, **problem.train_arguments)
    assert (numbers_of(loaded) == numbers_of(train_alone(state, n_epochs))).all()


def test_warnings_of_the_library_reach_the_page_once_for_the_settings_that_cause_them(page):
    page.start(dataset="surface")
    page.train_to(1500)  # the training has been called twice
    (warning,) = page.received("warning")
    assert "output_activation='tanh' has outputs from -1 to 1: choose" in warning["text"]
    page.start(2, dataset="surface", output_activation="identity")
    assert len(page.received("warning")) == 1
