"""Settings: accepted and refused values, and the descriptions of all fields for the page."""

import json
import re
from pathlib import Path
from urllib.parse import parse_qsl

import numpy as np
import pytest
from playing import numbers_of

import fastnn
from fastnn.losses import LOSSES
from fastnn.play.datasets import DATASETS
from fastnn.play.fields import RequestError
from fastnn.play.greeting import make_greeting
from fastnn.play.learning_problem import make_problem
from fastnn.play.settings import FIELDS, OPTIMIZERS, OPTIONS, Settings, describe_fields
from fastnn.reference.layer import ACTIVATIONS
from fastnn.schedules import SCHEDULES


def test_a_state_survives_json():
    assert Settings.of_state({}) == Settings()
    changed = {"dataset": "spiral", "arms": 5, "layers": [8, 4], "activations": ["relu", "tanh"]}
    changed |= {"optimizer": "momentum", "momentum": 0.5, "schedule": "step_decay", "gamma": 0.5}
    changed |= {"noise": 0.1, "batch_size": 16, "points": [[0.5, -1, 2]], "window": [-1, 2, 0, 5]}
    settings = Settings.of_state(changed)
    state = json.loads(json.dumps(settings.state))
    assert Settings.of_state(state) == settings
    assert set(state) == {*FIELDS, *OPTIONS}
    assert not set(OPTIONS) & set(FIELDS)
    assert str(Settings.of_state({"noise": -0.0}).noise) == "0.0"


def test_every_field_states_its_default_and_accepts_it():
    described = describe_fields(["a", "b"])
    json.dumps(described, allow_nan=False)
    for name, field in {**FIELDS, **OPTIONS}.items():
        assert field.check(name, field.default) == getattr(Settings(), name, None), name
        assert described[name]["default"] == field.default
        assert described[name]["line"], name
    assert [value["name"] for value in described["x_column"]["values"]] == ["a", "b"]
    assert (described["noise"]["minimum"], described["noise"]["maximum"]) == (0.0, 1.0)
    assert "minimum" not in described["dataset"]
    live = {name for name, each in described.items() if each["live"]}
    assert live == {"learning_rate", "batch_size", "l2", "l1", "clip_norm", "max_norm"}
    names = [value["name"] for value in describe_fields(None)["dataset"]["values"]]
    assert set(names) == set(DATASETS)  # without a table
    usual = "by default 0.9 for momentum, 0.9 for nesterov, 0 for rmsprop"
    assert described["momentum"]["line"].endswith(usual)
    registries = {"activations": ACTIVATIONS, "optimizer": OPTIMIZERS, "schedule": SCHEDULES, "loss": LOSSES}
    for field, registry in registries.items():
        values = described[field]["values"]
        assert [value["name"] for value in values] == [name for name in registry if name != "hinge"]
        assert all(value["line"] for value in values)


def test_the_best_known_settings_are_those_of_every_data_set():
    for data in json.loads(json.dumps(make_greeting(None)))["datasets"]:
        best = DATASETS[data["name"]].best
        assert {name: data["best"][name] for name in best} == json.loads(json.dumps(best))
        assert {"dropout", "batch_norm", "batch_size", "momentum"} <= set(data["best"])
        assert not {"seed", "test_share", "arms", "points", "dataset"} & set(data["best"])
        Settings.of_state({**data["best"], "dataset": data["name"]})


# Values that each field refuses, beside those that no field takes.
REFUSED = {"dataset": ["sun"], "n_samples": [9, 10**6, True], "noise": [-0.1, "much"], "arms": [1, 6]}
REFUSED |= {"turns": [0, 30], "classes": [1.5], "test_share": [1.0], "seed": [-1, 2**40], "dropout": [1.0]}
REFUSED |= {"features": [[], ["x3"], ["x1", "x1"], "x1"], "layers": [[10_000], [0], 3, [3] * 9, ["3"]]}
REFUSED |= {"learning_rate": [-1, float("nan"), 10**400, float("inf")], "activations": [["tahn"]]}
REFUSED |= {"batch_norm": [1], "passes": [0], "batch_size": [0], "l2": [-1], "clip_norm": [0]}
REFUSED |= {"max_norm": [-1], "momentum": [-1], "maxcor": [1.5, 0]}
REFUSED["window"] = [[], [0, 1, 2], [1, 1, 0, 2], [0, 1, 3, 2], [0, 1, 0, 10**10], ["a", 1, 0, 1]]
REFUSED["points"] = [[[0, 0]], [[0, 0, 9]], [[0, float("inf"), 0]], [[0, 0, 0]] * 5001, ["123"]]
REFUSED["points"] += [[["a", 0, 0]], [[10**400, 0, 0]], [[True, False, True]], [[1, 1, 1.5]]]


@pytest.mark.parametrize("name", {**FIELDS, **OPTIONS})
def test_wrong_values_are_refused_by_name(name):
    for value in ({"a": 1}, [[0]], *([] if "column" in name else ["none of these"]), *REFUSED.get(name, [])):
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
    with pytest.raises(RequestError, match="from 1 to 128, got 10000") as caught:
        Settings.of_state({"layers": [10_000], "activations": ["tanh"]})
    assert not caught.value.further
    Settings.of_state({"colour": None})  # of another version, without a value
    with pytest.raises(RequestError, match="object"):
        Settings.of_state([])


CONTRADICTIONS = [
    ("activations", {"layers": [3, 3]}),
    ("points", {"dataset": "painted", "points": [[0, 0, 0]]}),
    ("dataset", {"dataset": "table"}),
    ("loss", {"loss": "squared_error"}),
    ("loss", {"dataset": "surface", "loss": "poisson"}),
    ("loss", {"dataset": "blobs", "classes": 3, "loss": "sigmoid_binary_cross_entropy"}),
    ("test_share", {"test_share": 0.9, "dataset": "painted", "points": [[0, 0, 0], [1, 1, 1]]}),
    ("optimizer", {"optimizer": "lbfgs", "batch_size": 10}),
    ("optimizer", {"optimizer": "lbfgs", "schedule": "cosine_decay"}),
    ("gamma", {"schedule": "step_decay", "gamma": 2.0}),
    ("momentum", {"optimizer": "momentum", "momentum": 2.0}),
    ("beta2", {"optimizer": "adam", "beta1": 0.5, "beta2": 1.0}),
    ("margin", {"loss": "multiclass_hinge", "margin": 0.0}),
]


@pytest.mark.parametrize(("field", "state"), CONTRADICTIONS, ids=str)
def test_settings_that_contradict_each_other_are_refused(field, state):
    with pytest.raises(RequestError) as caught:
        make_problem(Settings.of_state(state))
    assert caught.value.name == field


def test_options_reach_the_optimizer_the_schedule_and_the_loss():
    def choose(name, **state):
        return make_problem(Settings.of_state(state))[0].train_arguments[name]

    assert choose("optimizer", optimizer="adam", beta2=0.9) == fastnn.Adam(betas=(0.9, 0.9))
    adamw = fastnn.AdamW(betas=(0.5, 0.999), eps_hat=True)
    assert choose("optimizer", optimizer="adamw", beta1=0.5, eps_hat=True, momentum=0.8) == adamw
    assert choose("optimizer", optimizer="lbfgs", maxcor=3, ftol=1e-3) == fastnn.LBFGS(maxcor=3, ftol=1e-3)
    assert choose("schedule", schedule="cosine_log", cycles=2) == fastnn.CosineLog(cycles=2)
    assert choose("schedule", schedule="exponential_decay", gamma=0.3).gamma == 0.3
    state = {"loss": "softmax_cross_entropy", "label_smoothing": 0.1, "margin": 2.0}
    assert make_problem(Settings.of_state(state))[1].loss.label_smoothing == 0.1


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_the_learning_rate_is_offered_where_it_has_an_effect(optimizer):
    described = describe_fields(None)["learning_rate"]
    numbers = []
    for rate in (0.001, 0.01):
        problem, model = make_problem(Settings.of_state({"optimizer": optimizer, "learning_rate": rate}))
        model.train(*problem.training_data, num_passes=2, **problem.train_arguments)
        numbers.append(numbers_of(model))
    has_effect = bool((numbers[0] != numbers[1]).any())
    assert has_effect == (optimizer in described["only"]["optimizer"])


def test_all_settings_reach_the_model_and_the_training():
    layers = {"layers": [5, 4], "activations": ["relu", "sigmoid"], "seed": 5}
    network = {"output_activation": "identity", "init": "he_normal", "batch_norm": True, "dropout": 0.25}
    network |= {"dtype": "float32"}
    training = {"schedule": "cosine_decay", "batch_size": 7, "reduction": "mean", "optimizer": "rmsprop"}
    training |= {"l1": 0.25, "clip_norm": 2.0, "max_norm": 3.0}
    state = layers | network | training | {"learning_rate": 0.5, "l2": 0.125}
    problem, model = make_problem(Settings.of_state(state))
    assert problem.layers_dim == [2, 5, 4, 2]
    assert problem.model_arguments == network | {"activation": ["relu", "sigmoid"], "random_state": 5}
    assert problem.train_arguments == training | {"epsilon": 0.5, "reg_lambda": 0.125, "random_state": 5}
    assert (len(model.batch_norm), model.W[0].dtype) == (2, np.float32)


LEARN = Path(fastnn.__file__).parents[1] / "docs" / "learn"


@pytest.mark.skipif(not LEARN.exists(), reason="the documentation is not part of the package")
def test_chapters_open_the_playground_with_settings_that_it_accepts():
    chapters = "".join(path.read_text(encoding="utf-8") for path in LEARN.glob("*.md"))
    lines = re.findall("fastnn playground --settings '(.*?)'", chapters)
    assert len(lines) >= 6
    for text in lines:
        state = {}
        for name, value in parse_qsl(text, keep_blank_values=True, strict_parsing=True):
            kind = FIELDS[name].kind
            if kind in ("integers", "choices"):
                state[name] = [int(n) if kind == "integers" else n for n in value.split(",") if n]
            else:
                state[name] = float(value) if kind in ("number", "integer") else value
        if "layers" in state:  # as the page completes it
            given = state.get("activations") or ["tanh"]
            state["activations"] = [*given, *given * 8][: len(state["layers"])]
        problem, _ = make_problem(Settings.of_state(state))
        assert len(problem.train) > 1, text
