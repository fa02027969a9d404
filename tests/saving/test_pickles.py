"""Pickles: plain values with a version, for machines of either byte order, memory-mapped or not."""

import copy
import pickle
import pickletools

import joblib
import numpy as np
import pytest
from saved_models import NAMED, X, assert_same_predictions, classifier, fit_more, make, model, trained, y

from fastnn.schedules import SCHEDULES

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

# Modules of the public classes that pickles may name.
PUBLIC = {
    "fastnn.model", "fastnn.losses", "fastnn.optimizers", "fastnn.estimators.classifier",
    "fastnn.estimators.regressor", "fastnn.estimators.ensemble",
    *(kind.__module__ for kind in SCHEDULES.values()),
}  # fmt: skip


def modules(pickled):
    """Return the modules of fastnn that a pickle names."""
    texts = [argument for code, argument, _ in pickletools.genops(pickled) if code.name == "SHORT_BINUNICODE"]
    return {text for text in texts if text.partition(".")[0] in ("fastnn", "fastnn_kernels")}


@pytest.mark.parametrize("name", NAMED)
def test_pickles_name_only_public_classes(name):
    assert modules(pickle.dumps(make(name), protocol=4)) <= PUBLIC


@pytest.mark.parametrize("name", NAMED)
@pytest.mark.parametrize("way", ["pickle", "deepcopy", "joblib"])
def test_copies_train_further_with_the_same_bits(name, way, tmp_path):
    thing = make(name)
    if way == "joblib":
        joblib.dump(thing, tmp_path / "thing")
        other = joblib.load(tmp_path / "thing")
    else:
        other = pickle.loads(pickle.dumps(thing)) if way == "pickle" else copy.deepcopy(thing)
    fit_more(thing, name)
    fit_more(other, name)
    assert_same_predictions(other, thing)


@pytest.mark.parametrize("name", [param for param in NAMED if "not fitted" not in param.values[0]])
def test_memory_mapped_objects_predict_and_train_further_with_the_same_bits(name, tmp_path):
    thing = make(name)
    joblib.dump(thing, tmp_path / "thing")
    mapped = joblib.load(tmp_path / "thing", mmap_mode="r")
    assert_same_predictions(mapped, thing)
    for _ in range(3):
        fit_more(thing, name)
        fit_more(mapped, name)
        assert_same_predictions(mapped, thing)


def test_a_memory_mapped_training_can_be_resumed(tmp_path):
    options = {"epsilon": 0.01, "batch_size": 16, "optimizer": "adam", "ema_decay": 0.9, "reduction": "mean"}
    at_once = trained(model(), y, num_passes=9, **options)
    joblib.dump(trained(model(), y, num_passes=4, **options), tmp_path / "model")
    mapped = joblib.load(tmp_path / "model", mmap_mode="r")
    mapped.train(X, y, num_passes=9, random_state=0, resume=True, **options)
    assert_same_predictions(mapped, at_once)


def other_arrays(change, value):
    """Return plain values with all arrays of numbers changed."""
    if isinstance(value, np.ndarray) and value.dtype.kind in "fiu":
        return change(value)
    if isinstance(value, dict):
        return {key: other_arrays(change, item) for key, item in value.items()}
    if type(value) in (tuple, list):
        return type(value)(other_arrays(change, item) for item in value)
    return value


def swapped(array):
    """Return an array of the other byte order."""
    return array.astype(array.dtype.newbyteorder())


def unaligned(array):
    """Return an array at an odd address."""
    other = np.frombuffer(bytearray(array.nbytes + 1), array.dtype, array.size, 1).reshape(array.shape)
    other[...] = array
    return other


@pytest.mark.parametrize("change", [swapped, unaligned])
@pytest.mark.parametrize(
    "name", ["model, everything", "model, stopped early", "classifier, early", "regressor"]
)
def test_a_pickle_of_the_other_byte_order_or_alignment_has_the_same_bits(name, change):
    thing = make(name)
    other = type(thing).__new__(type(thing))
    other.__setstate__(other_arrays(change, copy.deepcopy(thing).__getstate__()))
    assert_same_predictions(other, thing)
    fit_more(thing, name)
    fit_more(other, name)
    assert_same_predictions(other, thing)


@pytest.mark.parametrize("name", ["model", "classifier"])
def test_a_pickle_of_a_newer_version_is_refused(name):
    thing = make(name)
    state = thing.__getstate__()
    key = "version" if name == "model" else "_pickle_version"
    with pytest.raises(ValueError, match="written by a newer version of fastnn"):
        type(thing).__new__(type(thing)).__setstate__(state | {key: 99})


def test_shallow_copies_share_the_parameters():
    for thing in (make("model"), make("classifier")):
        other = copy.copy(thing)
        arrays = [getattr(one, "coefs_", None) or one.W for one in (thing, other)]
        assert np.shares_memory(arrays[0][0], arrays[1][0])


def test_functions_of_importable_modules_can_be_pickled():
    thing = classifier(scoring=_score, early_stopping=True).fit(X, y)
    assert_same_predictions(pickle.loads(pickle.dumps(thing)), thing)


def _score(estimator, X, y):
    return 1.0
