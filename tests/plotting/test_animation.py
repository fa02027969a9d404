"""Animations of trainings: the trained model, the frames, and what is refused."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
from estimator_checks import state
from matplotlib.figure import Figure
from PIL import Image
from sklearn.neighbors import KNeighborsClassifier
from views import X, y

import fastnn

ADAM = {"batch_size": 16, "optimizer": "adam", "epsilon": 0.01, "schedule": "cosine_decay"}
AVERAGED = {"batch_size": 32, "optimizer": "momentum", "ema_decay": 0.9, "reduction": "mean"}


def make_model(**options):
    return fastnn.Model([2, 8, 2], random_state=0, **options)


def make_axes():
    return Figure(figsize=(2, 1), dpi=50).add_subplot()


def save_frames(animation, ax, path):
    frames = []

    def note(number, count):
        (image,) = ax.images
        frames.append((ax.get_title(), np.asarray(image.get_array()), image.get_clim()))

    animation.save(path, "pillow", progress_callback=note)
    return frames


def draw(model):
    ax = fastnn.plot_decision_boundary(model, X, y, ax=make_axes())
    return np.asarray(ax.images[0].get_array())


def test_frames_show_the_model_from_its_beginning_to_its_end(tmp_path):
    model, ax = make_model(), make_axes()
    first = draw(model)
    samples, labels = X.copy(), y.copy()
    animation = fastnn.animate_training(model, samples, labels, num_passes=1000, frames=5, ax=ax)
    last = draw(model)
    result = f"loss {model.calculate_loss(X, y):.4f}, {np.mean(model.predict(X) == y):.1%} correct"
    model.W[0][...], samples[...], labels[...] = 0, 100, 3  # the frames show copies
    titles, pixels, _ = zip(*save_frames(animation, ax, tmp_path / "a.gif"), strict=True)
    assert titles[-1] == f"{result} after 1,000 epochs"
    assert [title.split(" after ")[1].split()[0] for title in titles] == ["0", "5", "31", "177", "1,000"]
    np.testing.assert_array_equal([pixels[0], pixels[-1]], [first, last])
    assert (first != last).any()
    with Image.open(tmp_path / "a.gif") as image:
        assert (image.n_frames, image.info["duration"]) == (5, 100)
    assert animation.to_jshtml().count("data:image/png") == 5
    fastnn.animate_training(model, X, y, num_passes=2, frames=2).save(tmp_path / "b.gif", "pillow")
    assert not plt.get_fignums()


KINDS = [({"backend": "numpy"}, {}), ({"dropout": 0.2}, ADAM), ({"batch_norm": True}, AVERAGED)]


@pytest.mark.parametrize(("network", "options"), [*KINDS, ({}, {"optimizer": "lbfgs"})])
def test_animating_a_model_trains_it_as_train_does(tmp_path, network, options):
    options = {"num_passes": 50, "random_state": 3, **options}
    model, expected = (make_model(**network) for _ in range(2))
    first_weights, ax = model.W[0], make_axes()
    for resume in (False, True):
        options["num_passes"] *= 1 + resume
        animation = fastnn.animate_training(model, X, y, frames=2, ax=ax, resume=resume, **options)
        expected.train(X, y, resume=resume, **options)
        np.testing.assert_array_equal(state(model), state(expected))
        assert model.history_ == expected.history_
        assert np.shares_memory(first_weights, model.W[0])
        assert len(save_frames(animation, ax, tmp_path / "a.gif")) == 2


def test_the_last_frame_of_a_training_that_ends_early_shows_its_best_epoch(tmp_path):
    model, expected = make_model(), make_model()
    ax, stopped = make_axes(), []
    options = {"num_passes": 400, "random_state": 3, "validation_data": (X[::3], 1 - y[::3])} | ADAM
    options["callbacks"] = [fastnn.EarlyStopping(patience=3), lambda h: stopped.append(h.n_passes)]
    animation = fastnn.animate_training(model, X, y, frames=2, ax=ax, **options)
    expected.train(X, y, **options)
    np.testing.assert_array_equal(state(model), state(expected))
    assert stopped[-1] < 400
    title, *_ = save_frames(animation, ax, tmp_path / "a.gif")[-1]
    assert f"loss {model.calculate_loss(X, y):.4f}" in title
    assert title.endswith(f"after {stopped[-1]} epochs")


@pytest.mark.parametrize("response", ["probability", "confidence", "margin"])
def test_frames_of_a_response_share_one_scale_and_place(tmp_path, response):
    ax = Figure(figsize=(4, 3), dpi=50).add_subplot()
    model, wide = fastnn.Model([3, 3, 2], random_state=0), np.column_stack([X, X[:, 0]])
    drawing = {"ax": ax, "response": response, "features": (2, 1), "fill": 0.5, "cmap": "RdBu"}
    animation = fastnn.animate_training(model, wide, y, num_passes=20, frames=2, **drawing)
    place = ax.get_position().bounds
    frames = save_frames(animation, ax, tmp_path / "a.gif")
    assert [limits for *_, limits in frames] == [(0, 1)] * 2
    assert [ax.get_xlabel(), ax.images[0].get_cmap().name] == ["$x_3$", "RdBu"]
    assert len(ax.figure.axes) == 2, "there is one colour bar"
    assert ax.get_position().bounds == pytest.approx(place)


def test_one_of_several_labels_is_animated(tmp_path):
    labels, ax = np.column_stack([y, X[:, 0] > 0]), make_axes()
    model = make_model(loss="sigmoid_binary_cross_entropy", output_activation="identity")
    animation = fastnn.animate_training(model, X, labels, num_passes=20, frames=2, ax=ax, class_of_interest=1)
    frames = save_frames(animation, ax, tmp_path / "a.gif")
    expected = fastnn.plot_decision_boundary(model, X, labels[:, 1], ax=make_axes(), class_of_interest=1)
    np.testing.assert_array_equal(frames[-1][1], expected.images[0].get_array())
    drawn, wanted = ([len(c.get_offsets()) for c in each.collections] for each in (ax, expected))
    assert drawn == wanted


def test_a_regression_is_animated_as_a_surface(tmp_path):
    options = {"loss": "squared_error", "output_activation": "identity", "random_state": 0}
    model, ax = fastnn.Model([2, 3, 1], **options), make_axes()
    animation = fastnn.animate_training(model, X, X[:, 0], num_passes=20, frames=2, ax=ax, epsilon=0.001)
    frames = save_frames(animation, ax, tmp_path / "a.gif")
    assert frames[-1][0] == f"loss {model.calculate_loss(X, X[:, 0]):.4f} after 20 epochs"
    assert [limits for *_, limits in frames] == [(X[:, 0].min(), X[:, 0].max())] * 2
    assert (frames[0][1] != frames[1][1]).any()


REFUSED = [
    ({"frames": 1}, ValueError, "frames must be .* got 1"),
    ({"ax": 3}, TypeError, "ax must be axes of matplotlib, got 3"),
    ({"y": y[1:]}, ValueError, r"X has 200 samples, but y has shape \(199,\)"),
    ({"response": "colour"}, ValueError, "response must be one of"),
    ({"features": (0, 2)}, ValueError, "features must be two numbers from 0 to 1"),
    ({"colours": ["red"]}, ValueError, "colours must be as many as there are classes, 2"),
    ({"cmap": "viridis"}, ValueError, "response is 'class': choose the colours of classes with colours="),
    ({"epochs": 3}, TypeError, "epochs"),
    ({"model": KNeighborsClassifier()}, TypeError, "model must be a Model, got KNeigh"),
]


@pytest.mark.parametrize(("changes", "error", "message"), REFUSED)
def test_wrong_arguments_are_refused_before_the_training(changes, error, message):
    model = make_model(backend="numpy")
    before = state(model)
    with pytest.raises(error, match=message):
        fastnn.animate_training(**{"model": model, "X": X, "y": y, **changes})
    np.testing.assert_array_equal(state(model), before)
    assert model.history_ is None
    assert not plt.get_fignums()
