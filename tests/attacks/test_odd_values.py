"""Odd arguments, too large, without a repr or of strange types, are refused by name, before any work."""

import dataclasses
import sys
from fractions import Fraction

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning

import fastnn
from fastnn.boundary.sinks import FORMATS

X = np.random.RandomState(0).randn(40, 2)
Y = (X[:, 0] > 0).astype(int)
TOO_LARGE = 10**400
# Python refuses to print an integer with this many digits.
UNPRINTABLE = 10**5000


class Odd:
    """An object with a shape, and without a repr."""

    shape = (1, 2)

    def __repr__(self):
        raise RuntimeError("it has no repr")


# scikit-learn's validation prints the values of parameters, and needs a repr.
COMPLEX, RAGGED, LARGE, EMPTY, NAMELESS = [0, 1j], [[1], [1, 2]], [0, TOO_LARGE], {}, Odd()
PRINTABLE = [1j, np.ndarray, object(), COMPLEX]
ODD = [*PRINTABLE, TOO_LARGE, UNPRINTABLE, NAMELESS, Odd, EMPTY, RAGGED, LARGE]


def make_model(layers_dim=(2, 3, 2), **options):
    return fastnn.Model(list(layers_dim), **{"random_state": 0, **options})


def render(model=lambda points: points[:, 0] > 0.5, xlim=(0, 1), **options):
    return fastnn.render_boundary(model, xlim, (0, 1), 4, **options)


def fit(**options):
    """Fit a classifier; check that a refused argument leaves it unfitted."""
    estimator = fastnn.MLPClassifier(**{"hidden_layer_sizes": (3,), "max_iter": 2, **options})
    before = dict(vars(estimator))
    try:
        return estimator.fit(X, Y)
    except (ValueError, MemoryError):
        assert vars(estimator) == before
        raise


# Calls of one argument, whose name the message gives.
CALLS = {
    "model": render,
    "xlim": lambda value: render(xlim=value),
    "size": lambda value: fastnn.render_boundary(make_model(), (0, 1), (0, 1), value),
    "fill": lambda value: render(make_model((3, 3, 2)), fill=value),
    "fill ": lambda value: render(fill=value),
    "classes": lambda value: render(classes=value),
    "tolerance": lambda value: fastnn.boundary_lines(make_model(), (0, 1), (0, 1), tolerance=value),
    "path": lambda value: render().save(value),
    "history": fastnn.plot_history,
    "axes": lambda value: fastnn.plot_history(make_model().train(X, Y, num_passes=2), value),
    "X": lambda value: fastnn.plot_decision_boundary(make_model(), value, [0, 1]),
    "y": lambda value: fastnn.plot_decision_boundary(make_model(), X[:2], value),
    "estimators": lambda value: fastnn.fit_many(value, X, Y),
    "X of a predictor": lambda value: make_model().predictor(1)(value),
    "n_rows": lambda value: make_model().predictor(value),
    "layers": fastnn.Model,
    "dtype": lambda value: make_model(dtype=value),
    "hidden_layer_sizes": lambda value: fit(hidden_layer_sizes=value),
    "dropout": lambda value: fit(dropout=value),
    "validation_fraction": lambda value: fit(validation_fraction=value, early_stopping=True),
    "learning_rate": lambda value: fit(learning_rate=value),
    "scoring": lambda value: fit(scoring=value, early_stopping=True),
}


# Arguments of estimators, and values that others accept or whose message gives another name.
ESTIMATORS = {"hidden_layer_sizes", "dropout", "validation_fraction", "learning_rate", "scoring"}
VALID = {"size": [COMPLEX, RAGGED, LARGE], "axes": [RAGGED], "y": [COMPLEX, LARGE]}
VALID |= {"model": [UNPRINTABLE], "estimators": [EMPTY], "dtype": [NAMELESS]}


@pytest.mark.parametrize("argument", CALLS)
def test_odd_values_are_refused_by_name(argument):
    values = [value for value in ODD if not any(value is one for one in VALID.get(argument, ()))]
    for value in PRINTABLE if argument in ESTIMATORS else values:
        with pytest.raises((ValueError, TypeError, MemoryError), match=argument.split(" ")[0]):
            CALLS[argument](value)


def test_values_in_messages_are_short():
    calls = [
        *[(fastnn.Adam, "eps"), (fastnn.Huber, "delta"), (fastnn.StepDecay, "gamma")],
        *[(fastnn.EarlyStopping, "scorer"), (fastnn.CosineDecay, "restarts")],
        *((make_model, name) for name in ("activation", "batch_norm", "random_state", "loss", "backend")),
    ]
    for value, text in (
        (UNPRINTABLE, "a int whose repr raises ValueError"),
        (Odd(), "a Odd whose repr raises RuntimeError"),
        (list(range(10**4)), r"\[0, 1, 2, .{,990}\.\.\."),
    ):
        for call, name in calls:
            with pytest.raises(ValueError, match=f"{name} must be .*got {text}"):
                call(**{name: value})


def test_networks_and_tables_beyond_memory_are_refused():
    for layers in ([2**31, 2**31], [TOO_LARGE, TOO_LARGE]):
        with pytest.raises(MemoryError, match=r"a network with the layers \[.* takes .* bytes"):
            fastnn.Model(layers)
    with pytest.raises(MemoryError, match="choose|fewer or narrower layers"):
        fit(hidden_layer_sizes=(2**31, 2**31))
    for n_rows in (2**40, 2**62):
        with pytest.raises(MemoryError, match=r"n_rows: a table of \d+ samples takes"):
            make_model().predictor(n_rows)


NUMBERS = ["alpha", "learning_rate_init", "tol", "power_t", "epsilon", "weight_decay", "max_grad_norm"]


@pytest.mark.parametrize("name", NUMBERS)
def test_numbers_of_estimators_must_fit_into_a_float(name):
    for value in (TOO_LARGE, UNPRINTABLE, Fraction(TOO_LARGE), np.longdouble("1e4000")):
        if np.longdouble is np.float64 or sys.float_info.max < value:
            with pytest.raises(ValueError, match=f"{name} must be a number that a float can hold, got"):
                fit(**{name: value})
    options = {"solver": "sgd", "learning_rate": "invscaling"} if name == "power_t" else {}
    options |= dict.fromkeys(("momentum", "ema_decay", "dropout", "label_smoothing"), Fraction(1, 3))
    for value in (Fraction(1, 3), np.float32(0.5), np.float16(0.5)):
        with pytest.warns(ConvergenceWarning):
            fit(max_iter=1, hidden_layer_sizes=np.array(3), **options, **{name: value})


def test_data_too_large_for_floats_are_refused():
    rows = [[0, TOO_LARGE]] * 40
    for kind in (fastnn.MLPClassifier, fastnn.MLPRegressor, fastnn.MLPEnsembleClassifier):
        with pytest.raises(ValueError, match="X or y holds a number too large for a float"):
            kind().fit(rows, Y)
        with pytest.raises(ValueError, match="sample_weight holds a number too large for a float"):
            kind().fit(X, Y, sample_weight=[TOO_LARGE] * 40)


def test_arguments_are_stored_as_numbers_of_python():
    types = {"bool": bool, "int": int, "float": float, "tuple[float, float]": tuple}
    for settings in (
        fastnn.LBFGS(maxcor=np.int8(10), ftol=np.float32(0.5), maxls=np.uint8(3), maxfun=np.int16(4)),
        fastnn.Adam(betas=[np.float32(0.5), 0]),
        fastnn.Momentum(rate_in_velocity=np.True_),
        fastnn.Adagrad(lr_decay=2**64),
        fastnn.Huber(Fraction(1, 3)),
        fastnn.EarlyStopping(np.int8(5), np.float32(0.5)),
    ):
        for field in dataclasses.fields(settings):
            if field.type in types:
                value = getattr(settings, field.name)
                assert type(value) is types[field.type], (settings, field.name)
                assert not isinstance(value, tuple) or {type(part) for part in value} == {float}


@pytest.mark.parametrize("name", ["a\0b", "a" * 300, "\ud800"])
@pytest.mark.parametrize("suffix", sorted(FORMATS))
def test_names_that_no_file_can_have_are_refused_before_the_work(name, suffix, tmp_path):
    out = f"{tmp_path}/{name}{suffix}"
    with pytest.raises(ValueError, match="path: a file cannot be called"):
        render().save(out)

    def predict(points):
        raise AssertionError("the picture was begun before the name was checked")

    with pytest.raises(ValueError, match="out: a file cannot be called"):
        render(predict, classes=[0, 1], out=out)
    with pytest.raises(ValueError, match="path: a file cannot be called .*_files"):
        render().save(tmp_path / f"{'a' * 251}.dzi")
    assert list(tmp_path.iterdir()) == []


def test_pictures_that_would_take_days_are_refused(tmp_path):
    with pytest.raises(ValueError, match="size: a picture of .* pixels takes days: choose at most"):
        fastnn.render_boundary(make_model(), (0, 1), (0, 1), (10**9, 10**9), out=tmp_path / "a.dzi")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.needs("dask")
def test_arrays_of_too_many_chunks_are_refused():
    with pytest.raises(ValueError, match="chunks: a picture of .* has 238,419,311,524 chunks of 2048 x 2048"):
        fastnn.boundary_array(make_model(), (0, 1), (0, 1), (10**9, 10**9))


def test_the_number_of_threads_is_bounded():
    assert render(make_model(), n_threads=2**62).stats.n_threads <= 256
