"""Settings: accepted and refused values, and the descriptions of all fields for the page."""

import dataclasses
import json

import numpy as np
import pytest

import fastnn
from fastnn.losses import LOSSES
from fastnn.optimizers import OPTIMIZERS
from fastnn.play.datasets import DATASETS
from fastnn.play.fields import RequestError
from fastnn.play.problem import posed
from fastnn.play.settings import FIELDS, OPTIONS, Settings, described_fields
from fastnn.reference.layer import ACTIVATIONS
from fastnn.schedules.base import SCHEDULES


def test_defaults_are_the_tutorials_network():
    settings = Settings.of_state({})
    assert (settings.dataset, settings.layers, settings.activations) == ("moons", (3,), ("tanh",))
    assert settings == Settings()


def test_a_state_survives_json():
    changed = {
        "dataset": "spiral", "arms": 5, "layers": [8, 4], "activations": ["relu", "tanh"], "momentum": 0.5,
        "optimizer": "momentum", "batch_size": 16, "schedule": "step_decay", "gamma": 0.5, "noise": 0.1,
        "points": [[0.5, -1, 2]],
    }  # fmt: skip
    settings = Settings.of_state(changed)
    state = json.loads(json.dumps(settings.state))
    assert Settings.of_state(state) == settings
    assert set(state) == {*FIELDS, *OPTIONS}


def test_every_field_states_its_default_and_accepts_it():
    described = described_fields(["a", "b"])
    json.dumps(described, allow_nan=False)
    for name, field in {**FIELDS, **OPTIONS}.items():
        assert field.checked(name, field.default) == getattr(Settings(), name, None), name
        assert described[name]["line"], name
    assert [value["name"] for value in described["x_column"]["values"]] == ["a", "b"]


def test_the_table_is_a_data_set_only_if_there_is_one():
    names = [value["name"] for value in described_fields(None)["dataset"]["values"]]
    assert "table" not in names
    assert set(names) == set(DATASETS)


@pytest.mark.parametrize(
    ("field", "registry"),
    [
        ("activations", ACTIVATIONS), ("optimizer", OPTIMIZERS), ("schedule", SCHEDULES), ("loss", LOSSES),
    ],
)  # fmt: skip
def test_everything_in_a_registry_is_offered(field, registry):
    values = described_fields(None)[field]["values"]
    assert [value["name"] for value in values] == list(registry)
    assert all(value["line"] for value in values)


def test_an_option_belongs_to_one_setting_and_is_not_named_as_a_field():
    assert not set(OPTIONS) & set(FIELDS)
    for name, field in OPTIONS.items():
        assert len(field.only) == 1, name


REFUSED = [
    ("dataset", "sun"), ("dataset", 3), ("n_samples", 9), ("n_samples", 10**6), ("n_samples", True),
    ("noise", -0.1), ("noise", "much"), ("noise", None), ("arms", 1), ("arms", 6), ("turns", 0),
    ("turns", 30), ("classes", 1.5),
    ("function", "tan"), ("surface", ""), ("test_share", 1.0), ("seed", -1), ("seed", 2**40),
    ("features", []), ("features", ["x3"]), ("features", ["x1", "x1"]), ("features", "x1"),
    ("layers", [10_000]), ("layers", [0]), ("layers", 3), ("layers", [3] * 9), ("layers", ["3"]),
    ("activations", ["tahn"]), ("output_activation", "softmax"), ("init", "zeros"), ("batch_norm", 1),
    ("dropout", 1.0), ("dtype", "float16"), ("loss", "perplexity"), ("optimizer", "lion"),
    ("learning_rate", -1), ("learning_rate", float("nan")), ("schedule", "up"), ("passes", 0),
    ("batch_size", 0), ("reduction", "max"), ("l2", -1), ("l1", [0]), ("clip_norm", 0), ("max_norm", -1),
    ("points", [[0, 0]]), ("points", [[0, 0, 9]]), ("points", [[0, float("inf"), 0]]), ("points", "none"),
    ("points", [[0, 0, 0]] * 5001), ("points", [["a", 0, 0]]), ("x_column", 3), ("momentum", -1),
    ("beta1", "0.9"), ("maxcor", 1.5), ("maxcor", 0), ("eps_hat", 1),
]  # fmt: skip


@pytest.mark.parametrize(("name", "value"), REFUSED, ids=[f"{n}={str(v)[:20]}" for n, v in REFUSED])
def test_wrong_values_are_refused_by_name(name, value):
    with pytest.raises(RequestError) as caught:
        Settings.of_state({name: value})
    assert caught.value.name == name
    assert len(str(caught.value)) < 1300


def test_all_wrong_values_are_refused_together():
    state = {"noise": 7, "n_samples": 1, "optimizer": "adam", "beta2": 1, "colour": "red", "l2": 0.1}
    with pytest.raises(RequestError) as caught:
        Settings.of_state(state)
    errors = [caught.value, *caught.value.further]
    assert [error.name for error in errors] == ["noise", "n_samples", None, "beta2"]
    for error in errors:
        assert str(error).startswith("there is no setting" if error.name is None else f"{error.name} must")
    with pytest.raises(RequestError) as caught:
        Settings.of_state({"noise": 7})
    assert not caught.value.further


def test_a_layer_of_10000_units_is_refused_with_the_limit():
    with pytest.raises(RequestError, match="from 1 to 128, got 10000"):
        Settings.of_state({"layers": [10_000], "activations": ["tanh"]})


@pytest.mark.parametrize(
    ("state", "field"),
    [
        ({"layers": [3, 3]}, "activations"),
        ({"dataset": "painted"}, "points"),
        ({"dataset": "table"}, "dataset"),
        ({"loss": "squared_error"}, "loss"),
        ({"dataset": "surface", "loss": "softmax_cross_entropy"}, "loss"),
        ({"dataset": "surface", "loss": "poisson"}, "loss"),
        ({"dataset": "blobs", "loss": "sigmoid_binary_cross_entropy"}, "loss"),
        ({"test_share": 0.9, "dataset": "painted", "points": [[0, 0, 0], [1, 1, 1]]}, "test_share"),
        ({"optimizer": "lbfgs", "batch_size": 10}, "optimizer"),
        ({"optimizer": "lbfgs", "dropout": 0.5}, "optimizer"),
        ({"optimizer": "lbfgs", "schedule": "cosine_decay"}, "optimizer"),
        ({"schedule": "step_decay", "gamma": 2.0}, "gamma"),
        ({"optimizer": "momentum", "momentum": 2.0}, "momentum"),
        ({"optimizer": "adam", "beta1": 0.5, "beta2": 1.0}, "beta2"),
        ({"loss": "multiclass_hinge", "margin": 0.0}, "margin"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(state, field):
    with pytest.raises(RequestError) as caught:
        posed(Settings.of_state(state))
    assert caught.value.name == field


def test_unknown_settings_are_refused_unless_they_are_null():
    Settings.of_state({"colour": None})
    with pytest.raises(RequestError, match="'colour'"):
        Settings.of_state({"colour": "red"})
    with pytest.raises(RequestError, match="object"):
        Settings.of_state([])


def test_options_reach_the_optimizer_the_schedule_and_the_loss():
    state = {
        "optimizer": "nesterov", "momentum": 0.8, "schedule": "exponential_decay", "gamma": 0.3,
        "loss": "softmax_cross_entropy", "label_smoothing": 0.1, "margin": 2.0,
    }  # fmt: skip
    problem, model = posed(Settings.of_state(state))
    arguments = problem.train_arguments
    assert arguments["optimizer"].momentum == 0.8
    assert arguments["schedule"].gamma == 0.3
    assert model.loss.label_smoothing == 0.1


def test_pairs_truth_values_and_whole_numbers_are_options_too():
    def chosen(name, **state):
        return posed(Settings.of_state(state))[0].train_arguments[name]

    assert chosen("optimizer", optimizer="adam", beta2=0.9) == fastnn.Adam(betas=(0.9, 0.9))
    assert chosen("optimizer", optimizer="adamw", beta1=0.5, eps_hat=True) == fastnn.AdamW(
        betas=(0.5, 0.999), eps_hat=True
    )
    assert chosen("optimizer", optimizer="lbfgs", maxcor=3, ftol=1e-3) == fastnn.LBFGS(maxcor=3, ftol=1e-3)
    assert chosen("schedule", schedule="cosine_log", cycles=2) == fastnn.CosineLog(cycles=2)
    with pytest.raises(RequestError, match="^beta2 must be") as caught:
        chosen("optimizer", optimizer="adam", beta2=1)
    assert caught.value.name == "beta2"


def test_options_are_described_with_their_defaults():
    lines = {name: described["line"] for name, described in described_fields(None).items()}
    assert lines["maxcor"] == "Number of past steps from which the Hessian is approximated; by default 10"
    assert lines["momentum"].endswith("by default 0.9 for momentum, 0.9 for nesterov, 0 for rmsprop")
    assert described_fields(None)["eps_hat"]["kind"] == "flag"


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_the_learning_rate_is_offered_where_it_has_an_effect(optimizer):
    described = described_fields(None)["learning_rate"]
    assert set(described["only"]) == {"optimizer"}
    assert (
        described["otherwise"] == "L-BFGS has no learning rate: a line search finds the length of each step."
    )
    weights = []
    for rate in (0.001, 0.01):
        problem, model = posed(Settings.of_state({"optimizer": optimizer, "learning_rate": rate}))
        model.train(*problem.training_data, num_passes=2, **problem.train_arguments)
        weights.append(np.concatenate([W.ravel() for W in model.W]))
    has_effect = bool((weights[0] != weights[1]).any())
    assert has_effect == (optimizer in described["only"]["optimizer"])


def test_all_settings_reach_the_model_and_the_training():
    state = {
        "layers": [5, 4], "activations": ["relu", "sigmoid"], "output_activation": "identity",
        "init": "he_normal", "batch_norm": True, "dropout": 0.25, "dtype": "float32", "optimizer": "rmsprop",
        "learning_rate": 0.5, "schedule": "cosine_decay", "batch_size": 7, "reduction": "mean", "l2": 0.125,
        "l1": 0.25, "clip_norm": 2.0, "max_norm": 3.0, "seed": 5,
    }  # fmt: skip
    problem, model = posed(Settings.of_state(state))
    network = model._network
    assert network.layers_dim == (2, 5, 4, 2)
    assert network.activations == ("relu", "sigmoid", "identity")
    assert (network.batch_norm, network.dropout, str(network.dtype)) == (True, (0.0, 0.25, 0.25), "float32")
    assert problem.train_arguments == {
        "epsilon": 0.5, "reg_lambda": 0.125, "batch_size": 7, "optimizer": "rmsprop",
        "schedule": "cosine_decay", "reduction": "mean", "l1": 0.25, "max_norm": 3.0, "clip_norm": 2.0,
        "random_state": 5,
    }  # fmt: skip


def test_every_attribute_of_settings_is_described():
    names = {field.name for field in dataclasses.fields(Settings)}
    assert names == {*FIELDS, "options"}
