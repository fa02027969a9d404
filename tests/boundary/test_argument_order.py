"""The order of arguments: calls with the samples first, as in other libraries, fail with the right usage."""

import re

import numpy as np
import pytest
from extras import optional
from sklearn.datasets import make_moons

import fastnn

pd = optional("pandas")

X, y = make_moons(40, noise=0.2, random_state=0)
model = fastnn.Model([2, 3, 2], random_state=0)
LIMITS = (-2, 3), (-1.5, 2)

SAMPLES = {
    "array": X,
    "list": X.tolist(),
    "frame": pytest.param(pd and pd.DataFrame(X, columns=["a", "b"]), marks=pytest.mark.needs("pandas")),
}
CALLS = {
    "plot_decision_boundary(model, X, y)": lambda X: fastnn.plot_decision_boundary(X, y, model),
    "render_boundary(model, xlim, ylim)": lambda X: fastnn.render_boundary(X, y, model),
    "boundary_lines(model, xlim, ylim)": lambda X: fastnn.boundary_lines(X, *LIMITS),
    "boundary_array(model, xlim, ylim)": lambda X: fastnn.boundary_array(X, y, model),
    "animate_training(model, X, y, path)": lambda X: fastnn.animate_training(X, y, model, "training.gif"),
}


@pytest.mark.parametrize("samples", SAMPLES.values(), ids=SAMPLES)
@pytest.mark.parametrize(
    ("usage", "call"),
    [
        pytest.param(*item, marks=pytest.mark.needs("dask") if "boundary_array" in item[0] else ())
        for item in CALLS.items()
    ],
    ids=CALLS,
)
def test_the_model_comes_first(usage, call, samples):
    with pytest.raises(TypeError, match=re.escape(f"the model comes first: {usage}")):
        call(samples)


@pytest.mark.parametrize("given", [None, 7, "model", {"model": model}])
def test_other_objects_are_no_models(given):
    with pytest.raises(TypeError, match=r"model must be a fastnn.Model, have predict or be callable, got"):
        fastnn.render_boundary(given, *LIMITS)


def test_a_generator_of_models_is_taken_as_a_list(tmp_path):
    path = fastnn.animate_training((m for m in [model, model]), X, y, tmp_path / "a.gif", size=(240, 180))
    assert path.exists()


def test_the_message_does_not_hold_the_samples():
    with pytest.raises(TypeError) as caught:
        fastnn.plot_decision_boundary(np.zeros((1000, 2)), y, model)
    assert len(str(caught.value)) < 200
