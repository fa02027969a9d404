"""Files: other programs read them, and a damaged, changed or foreign one is a ValueError with the reason."""

import contextlib
import os
import pickle
import re
import sys
import tracemalloc

import numpy as np
import pytest
from safetensors.numpy import save_file
from saved_models import X, classifier, model, rewrite, set_entry, trained, y

import fastnn
from fastnn.saving.container import Contents, write_container

pytestmark = pytest.mark.filterwarnings("ignore:.*hasn't converged")

# More nested lists than Python's limit lets the reader follow: from 3.12 on, a comprehension has no frame.
DEEP = 700 if sys.version_info < (3, 12) else 990


@pytest.fixture(scope="module")
def everything(tmp_path_factory):
    """Return the file of a model with a state of every kind."""
    path = tmp_path_factory.mktemp("saved") / "model.fastnn"
    options = {"optimizer": "adam", "batch_size": 16, "reduction": "mean", "ema_decay": 0.9}
    trained(model(batch_norm=True, dropout=0.1), y, **options).save(path)
    return path


def refusal(path):
    """Assert that loading and describing a file raise a ValueError that names it; return the message."""
    for function in (fastnn.load, fastnn.info):
        with pytest.raises(ValueError, match=re.escape(str(path))) as caught:
            function(path)
        assert type(caught.value) is ValueError
    return str(caught.value)


def test_every_changed_byte_is_noticed(everything, tmp_path):
    content, random = everything.read_bytes(), np.random.RandomState(0)
    path = tmp_path / "other.fastnn"
    for place in [*range(0, 400, 7), *random.randint(0, len(content), 200), len(content) - 1]:
        changed = bytearray(content)
        changed[place] ^= 1 << random.randint(8)
        path.write_bytes(changed)
        refusal(path)
    for first, last in np.sort(random.randint(0, len(content), (100, 2))).tolist():
        for changed in (content[:first] + content[last:], content[:last] + content[first:]):
            path.write_bytes(changed)
            if first < last:
                refusal(path)


def test_files_of_other_programs_and_truncated_ones_are_refused(everything, tmp_path):
    path, content = tmp_path / "file", everything.read_bytes()
    for left in (0, 1, 7, 8, 9, 100, 2000, -65, -1):
        path.write_bytes(content[:left])
        assert "is not a model saved by fastnn, or is damaged" in refusal(path)
    numpy, huge = b"\x93NUMPY\x01\x00v\x00" + b" " * 100, (2**62).to_bytes(8, "little") + b"{}" * 50
    pickled, texts = pickle.dumps({"a": np.zeros(100)}), (b"layers_dim: [2, 3, 2]\n" * 9, b'{"a": [2]}')
    for foreign in (pickled, *texts, numpy, huge):
        path.write_bytes(foreign)
        assert "A file of pickle, joblib, NumPy, Keras or torch is loaded by that library" in refusal(path)
    save_file({"a": np.zeros(3)}, path, {"format": "pt"})
    assert "a safetensors file of another program" in refusal(path)
    assert "is a folder, a device or a pipe" in refusal(tmp_path)
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe")
        assert "is a folder, a device or a pipe" in refusal(tmp_path / "pipe")
    with pytest.raises(FileNotFoundError, match="there is no file"):
        fastnn.load(tmp_path / "none.fastnn")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "Expecting property name"),
        ('{"a": 1, "a": 2}', "the key 'a' occurs twice"),
        ("[NaN]", "NaN is not a JSON number"),
        ("[-Infinity]", "-Infinity is not a JSON number"),
        pytest.param("[" * 100_000, "nested too deeply", marks=pytest.mark.native("stack for it")),
        ("9" * 5000, "4300 digits"),
    ],
)
def test_texts_that_are_not_strict_json_are_refused(text, message, tmp_path):
    save_file({}, tmp_path / "file", {"fastnn": text})
    assert re.search(message, refusal(tmp_path / "file"))


@pytest.mark.parametrize("depth", [3, pytest.param(DEEP, marks=pytest.mark.native("limit so low"))])
def test_descriptions_of_other_values_are_refused(depth, tmp_path):
    nested = []
    for _ in range(depth):
        nested = [nested]
    write_container(tmp_path / "file", Contents(nested, {}))
    message = "it holds a list" if depth == 3 else "its description is nested too deeply"
    assert message in refusal(tmp_path / "file")


def test_a_file_of_another_format_says_which_version_reads_it(everything, tmp_path):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("fastnn.saving.container.FORMAT", 2)
        patch.setattr(fastnn, "__version__", "7.5\x1b[2J")
        model().save(tmp_path / "new.fastnn")
        assert "reads only the format 2" in refusal(everything)
    assert r"fastnn 7.5\x1b[2J saved it in the format 2" in (message := refusal(tmp_path / "new.fastnn"))
    assert "install fastnn-numba 7.5" in message


# A path of keys in the description, the value to write there, and the message of the error.
EDITS = [
    ("$class", "Adam", "Adam.. has no argument 'network'"),
    ("network", "layers_dim", [2, 10**30, 4, 2], "parameters"),
    ("network", "layers_dim", "abc", "layers_dim"),
    ("network", "activation", ["tanh", "os"], "activation must be one of"),
    ("network", "dtype", "float32", "the saved parameters must be an array .* of float32"),
    ("network", "loss", {"$class": "Popen"}, "no class called 'Popen'"),
    ("network", "loss", {"$class": "Adam"}, "loss must be"),
    ("network", "loss", {"$class": "SoftmaxCrossEntropy", "label_smoothing": 7}, "label_smoothing"),
    ("network", None, "check_vectors"),
    ("statistics", {"$array": "parameters"}, "the array 'parameters' is missing, or named twice"),
    ("backend", "fortran", "backend"),
    ("training", "n_steps", -1, "n_steps must be an integer of at least 0"),
    ("training", "record_every", 0, "record_every must be an integer of at least 1"),
    ("training", "last", {"$tuple": []}, "TrainingState.last is not of the type"),
    ("training", "records", {"$tuple": [1, 2, 3]}, "TrainingState.records is not of the type"),
    ("training", "memory", 7, r"TrainingState.memory is not of the type .*Memory"),
    ("training", "memory", "order", [0], "Memory.order is not of the type"),
    ("training", "seed", "0", "TrainingState.seed is not of the type int"),
    ("training", "settings", {}, "the saved settings are not"),
    ("training", "best", {"$class": "Dropped", "name": "x", "reason": "y"}, "TrainingState.best is not of"),
    ("history", "loss", {"$array": "training.memory.order"}, "History.loss is not of the type .*float64"),
    ("history", 7, "history is not of the type"),
    ("training", 7, "has no attribute 'check'"),
]


@pytest.mark.parametrize("edit", EDITS, ids=lambda edit: f"{edit[:-1]}")
def test_descriptions_that_fit_no_model_are_refused(edit, everything, tmp_path):
    *path, value, message = edit
    rewrite(everything, tmp_path / "other.fastnn", set_entry(*path, value=value))
    assert re.search(message, refusal(tmp_path / "other.fastnn"))


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (["_state", "memory"], 7, "FittedNetwork.memory is not of the type"),
        (["_state", "memory", "plateau"], {"$array": "_state.parameters"}, "the saved plateau must be"),
        (["_state", "n_steps"], -1, "n_steps must be an integer of at least 0"),
        (["_state", "random"], 1, "FittedNetwork.random is not of the type"),
        (["_state", "rate_factor"], "1", "FittedNetwork.rate_factor is not of the type float"),
        (["_state", "optimizer"], {"$class": "Constant"}, "FittedNetwork.optimizer is not of the type"),
        (["loss_curve_"], ["a"], "loss_curve_ is not of the type"),
        (["best_loss_"], [], "best_loss_ is not of the type"),
        (["t_"], None, "t_ is not of the type int"),
    ],
)
def test_attributes_of_wrong_types_are_refused_before_the_next_fit_uses_them(path, value, message, tmp_path):
    fastnn.MLPRegressor(hidden_layer_sizes=(2,), max_iter=1).fit(X, y).save(tmp_path / "a.fastnn")

    def edit(description, arrays):
        if "plateau" in path:
            arrays["_state.memory.plateau"] = arrays["_state.memory.plateau"][:1]
        else:
            set_entry(*path, value=value)(description, arrays)

    rewrite(tmp_path / "a.fastnn", tmp_path / "b.fastnn", edit)
    assert message in refusal(tmp_path / "b.fastnn")


@pytest.mark.parametrize(
    ("name", "place", "value"), [("order", 3, 60), ("order", 3, -1), ("order", 3, 4), ("generator", 624, 625)]
)
def test_arrays_that_would_make_kernels_read_out_of_bounds_are_refused(name, place, value, tmp_path):
    options = {"num_passes": 9, "epsilon": 1e-3, "batch_size": 16, "random_state": 0}
    trained(model(), y, **options | {"num_passes": 4}).save(tmp_path / "model.fastnn")

    def change(description, arrays):
        arrays[f"training.memory.{name}"][place] = value

    rewrite(tmp_path / "model.fastnn", tmp_path / "other.fastnn", change)
    with pytest.raises(ValueError, match="order of the samples is not a permutation|beyond its numbers"):
        model().train(X, y, resume=tmp_path / "other.fastnn", **options)


def test_estimators_on_whose_attributes_kernels_rely_are_checked(tmp_path):
    path, other = tmp_path / "classifier.fastnn", tmp_path / "other.fastnn"
    classifier().fit(X, y).save(path)
    for name, value, message in [
        ("n_outputs_", 3, "classes do not fit n_outputs_"),
        ("n_outputs_", 1.0, "n_outputs_ is not of the type"),
        ("n_features_in_", "2", "n_features_in_ is not of the type"),
        ("n_features_in_", 5, "do not fit the network"),
        ("classes_", [1, 0], "classes_ is not of the type numpy.ndarray"),
        *((name, "a", "has no attribute") for name in ("predict", "model_", "coefs_", "__class__", "_fit")),
    ]:
        rewrite(path, other, lambda description, arrays, pair=(name, value): description.update([pair]))
        assert message in refusal(other)

    def reverse(description, arrays):
        arrays["classes_"] = arrays["classes_"][::-1].copy()

    rewrite(path, other, reverse)
    assert "in increasing order" in refusal(other)

    def optimizer(description, arrays):
        arrays["_state.memory.optimizer"] = arrays["_state.memory.optimizer"][:1]

    rewrite(path, other, optimizer)
    with pytest.raises(ValueError, match="the saved optimizer of the training must be an array"):
        fastnn.load(other).set_params(warm_start=True).fit(X, y)


def measure_cost(path):
    """Try to load a file; return the bytes allocated at any time per byte of the file."""
    for _ in range(2):  # the first call imports modules, which take memory as well
        tracemalloc.start()
        with contextlib.suppress(ValueError):
            fastnn.load(path)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    return peak / path.stat().st_size


@pytest.mark.parametrize(
    ("change", "limit", "message"),
    [
        (lambda description: description | {"class_weight": ["long " * 20_000]}, 4, None),
        (lambda description: [description] * 200, 40, "is missing, or named twice"),
        (lambda description: [{"$class": "Adam"}] * 4000, 60, None),
    ],
)
def test_memory_is_bounded_by_the_size_of_the_file(change, limit, message, tmp_path):
    path = tmp_path / "model.fastnn"
    classifier().fit(X, y).save(path)
    rewrite(path, path, lambda description, arrays: Contents(change(description), arrays))
    assert measure_cost(path) < limit
    if message:
        assert message in refusal(path)


def test_arrays_take_the_memory_that_they_take_in_the_file(tmp_path):
    samples, labels = np.random.RandomState(0).normal(size=(20, 300)), np.arange(20) % 10
    large = fastnn.Model([300, 250, 10], random_state=0)
    large.train(samples, labels, num_passes=1, optimizer="adam", epsilon=1e-3)
    texts = classifier(class_weight=np.array([*map(str, range(400)), "long " * 2000]))
    for thing, limit in (large, 2), (texts, 3):
        thing.save(tmp_path / "model.fastnn")
        assert measure_cost(tmp_path / "model.fastnn") < limit
