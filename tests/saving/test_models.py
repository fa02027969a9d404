"""Saved models: a loaded object is equal, trains further with the same bits, and is described."""

import copy
import functools
import io
import pickle
from pathlib import Path

import joblib
import numpy as np
import pytest
from saved_models import NAMED, X, assert_same_predictions, classifier, fit_more, make, model, trained, y

import fastnn
from fastnn.cli import main as cli

pytestmark = pytest.mark.filterwarnings("ignore:.*hasn't converged")


unchanged = functools.cache(make)  # of a name: tests only read the object


def save_and_load(thing, folder, **options):
    thing.save(folder / "model.fastnn", **options)
    return fastnn.load(folder / "model.fastnn")


@pytest.mark.parametrize("name", NAMED)
def test_a_loaded_object_equals_the_saved_one_and_the_file_is_described(name, tmp_path):
    thing, path = unchanged(name), tmp_path / "model.fastnn"
    loaded = save_and_load(thing, tmp_path)
    assert type(loaded) is type(thing)
    if "not fitted" in name:
        from sklearn.exceptions import NotFittedError

        with pytest.raises(NotFittedError):
            (getattr(loaded, "predict", None) or loaded.transform)(X)
    assert_same_predictions(loaded, thing)
    if isinstance(thing, fastnn.Model):
        assert repr(loaded) == repr(thing)
    else:
        parameters = repr(thing.get_params())
        assert repr(loaded.get_params()) == parameters or "RandomState" in parameters
        public = {key for key in vars(thing) if not key.startswith("_")}
        assert public <= set(vars(loaded))
        for key in public & {"loss_curve_", "columns_", "target_name_"}:
            assert getattr(loaded, key) == getattr(thing, key)
    for method in ("summary", "get_feature_names_out"):
        if hasattr(thing, method) and "not fitted" not in name:
            np.testing.assert_array_equal(getattr(loaded, method)(), getattr(thing, method)())
    loaded.save(tmp_path / "again.fastnn")
    assert (tmp_path / "again.fastnn").read_bytes() == path.read_bytes()

    found = fastnn.info(path)
    assert (found.kind, found.version) == (type(thing).__name__, fastnn.__version__)
    assert found.n_bytes == path.stat().st_size
    assert found.kind in str(found)
    if isinstance(thing, fastnn.Model):
        assert (found.layers_dim, found.dtype) == (thing.layers_dim, thing.dtype.name)
        n_parameters = sum(array.size for array in (*thing.W, *thing.b))
        n_parameters += sum(norm.scale.size + norm.shift.size for norm in thing.batch_norm)
        assert found.n_parameters == n_parameters
    elif hasattr(thing, "classes_"):
        assert found.classes == thing.classes_.tolist()
    if hasattr(thing, "estimators_"):
        assert found.n_members == len(thing.estimators_)
        members = [(*member.coefs_, *member.intercepts_) for member in thing.estimators_]
        assert found.n_parameters == sum(array.size for arrays in members for array in arrays)


WAYS = {
    "file": save_and_load,
    "pickle": lambda thing, folder: pickle.loads(pickle.dumps(thing)),
    "deepcopy": lambda thing, folder: copy.deepcopy(thing),
    "memory map": lambda thing, folder: joblib.load(*joblib.dump(thing, folder / "thing"), mmap_mode="r"),
}


@pytest.mark.parametrize("name", NAMED)
def test_copies_of_any_kind_train_further_with_the_same_bits(name, tmp_path):
    thing = make(name)
    copies = [copy_by(thing, tmp_path) for copy_by in WAYS.values()]
    # Without a warm start, a fit begins anew: in a second one nothing is left of the copy.
    for fits_before in range(3 if hasattr(thing, "warm_start") or hasattr(thing, "train") else 2):
        if fits_before:
            for one in (thing, *copies):
                fit_more(one, name)
        for other in copies:
            assert_same_predictions(other, thing)


@pytest.mark.parametrize("name", NAMED)
def test_an_object_saved_without_training_state_predicts_the_same_and_can_be_fitted(name, tmp_path):
    thing = unchanged(name)
    thing.save(tmp_path / "whole.fastnn")
    loaded = save_and_load(thing, tmp_path, training=False)
    assert_same_predictions(loaded, thing)
    if not any(words in name for words in ("not fitted", "never", "encoder", "scaler", "dates", "piecewise")):
        assert (tmp_path / "model.fastnn").stat().st_size < (tmp_path / "whole.fastnn").stat().st_size
    fit_more(loaded, name)
    loaded.save(tmp_path / "more.fastnn")


def test_generators_of_random_numbers_are_saved_with_their_state_and_stay_shared(tmp_path):
    random = np.random.RandomState(5)
    random.normal()  # the generator now keeps a second normal number for the next call
    members = [classifier(random_state=random), classifier(random_state=random)]
    loaded = save_and_load(fastnn.MLPEnsembleClassifier(members), tmp_path).estimator
    assert loaded[0].random_state is loaded[1].random_state
    assert loaded[0].random_state.normal(size=3).tolist() == random.normal(size=3).tolist()
    other = np.random.RandomState(np.random.Philox(5))
    with pytest.raises(ValueError, match="random_state uses the bit generator Philox.*keep the object with"):
        classifier(random_state=other).save(tmp_path / "model.fastnn")


class Curious(fastnn.MLPClassifier):
    """A user's class."""


def factor(step):
    return 0.9**step


@pytest.mark.parametrize(
    ("make_thing", "message"),
    [
        (lambda: Curious().fit(X, y), "the model is Curious.*save an object of fastnn.s own class, or"),
        (lambda: classifier(learning_rate=factor), "learning_rate is the function factor.*nothing in a file"),
        (lambda: fastnn.MLPEnsembleClassifier(classifier(scoring=factor)), "scoring is the function factor"),
        (lambda: trained(model(), y, schedule=factor), "schedule is the function factor.*training=False"),
    ],
)
def test_classes_and_functions_of_users_are_refused_by_name(make_thing, message, tmp_path):
    thing = make_thing()
    with pytest.raises(ValueError, match=message):
        thing.save(tmp_path / "model.fastnn")
    assert not list(tmp_path.iterdir())
    if isinstance(thing, fastnn.Model):
        assert_same_predictions(save_and_load(thing, tmp_path, training=False), thing)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (("missing/model.fastnn",), ValueError, "there is no folder"),
        ((".",), ValueError, "is a folder, not the name of a model's file"),
        (("",), ValueError, "path: '' is not the name of a file"),
        (("a\0b",), ValueError, "a file cannot be called"),
        ((3,), TypeError, "path must be a path, got 3"),
        (("model.fastnn", "no"), ValueError, "training must be True or False"),
        (("model.fastnn", True, 1), ValueError, "sync must be True or False"),
    ],
)
def test_bad_arguments_are_refused(arguments, error, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(error, match=message):
        model().save(*arguments)
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(not Path("/proc/self/mem").exists(), reason="only Linux has a file that no one can read")
def test_errors_of_reading_are_the_systems():
    with pytest.raises(OSError, match="os error"):
        fastnn.load("/proc/self/mem")


def test_a_failed_save_leaves_the_older_file(tmp_path, monkeypatch):
    path = tmp_path / "model.fastnn"
    model().save(path)
    before = path.read_bytes()

    def full(file, content):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match=f"No space left on device: '{path}'"):
        trained(model(), y).save(path)
    assert (path.read_bytes(), [file.name for file in tmp_path.iterdir()]) == (before, ["model.fastnn"])


def make_foreign(content, dtype, shape):
    """Return an array at an odd address."""
    return np.frombuffer(bytearray(b"." + content), dtype, offset=1).reshape(shape)


class ForeignPickler(pickle.Pickler):
    """Pickler that writes arrays of the other byte order, which are read to odd addresses."""

    def reducer_override(self, thing):
        if type(thing) is not np.ndarray or thing.dtype.kind not in "fiu":
            return NotImplemented
        dtype = thing.dtype.newbyteorder()
        return make_foreign, (thing.astype(dtype).tobytes(), dtype, thing.shape)


@pytest.mark.parametrize(
    "name", ["model, everything", "model, stopped early", "classifier, early", "regressor"]
)
def test_a_pickle_of_the_other_byte_order_or_alignment_has_the_same_bits(name):
    thing, file = make(name), io.BytesIO()
    ForeignPickler(file).dump(thing)
    other = pickle.loads(file.getvalue())
    assert_same_predictions(other, thing)
    fit_more(thing, name)
    fit_more(other, name)
    assert_same_predictions(other, thing)


def test_information_is_printed_line_by_line(tmp_path):
    network = fastnn.Model([2, 30, 3], activation="relu", batch_norm=True, dtype=np.float32, random_state=0)
    network.train(X, y, num_passes=7, epsilon=1e-3, batch_size=20)
    path = tmp_path / "model.fastnn"
    network.save(path)
    assert str(fastnn.info(path)).splitlines() == [
        f"file        {path}, {path.stat().st_size:,} bytes",
        "kind        Model",
        "network     2 -relu-> 30 -tanh-> 3",
        "loss        SoftmaxCrossEntropy, float32",
        "parameters  243",
        "training    21 steps of a training of 7 epochs",
        f"version     fastnn {fastnn.__version__}",
    ]


def test_the_command_prints_information_on_every_file(tmp_path, capsys):
    paths = [tmp_path / name for name in "ab"]
    for path in paths:
        model().save(path)
    assert cli.main(["info", *map(str, paths)]) == 0
    assert capsys.readouterr().out == "\n\n".join(str(fastnn.info(path)) for path in paths) + "\n"
    paths[0].write_bytes(b"no model")
    assert cli.main(["info", str(paths[0])]) == 1
    assert "is not a model saved by fastnn" in capsys.readouterr().err


def test_large_numbers_of_classes_are_numbers(tmp_path):
    """Other readers of JSON would round them: the file holds them as text."""
    classes = [2**60, 2**60 + 1]
    estimator = fastnn.MLPClassifier((2,)).partial_fit(X, np.resize(classes, len(X)), classes=classes)
    estimator.save(tmp_path / "model.fastnn")
    found = fastnn.info(tmp_path / "model.fastnn")
    assert found.classes == classes
    assert f"2: {classes[0]}, {classes[1]}\n" in str(found)


def test_the_steps_of_a_fit_are_counted_where_its_state_is_saved(tmp_path):
    for training, n_steps in (True, 16), (False, None):  # 4 epochs of 4 batches
        make("classifier").save(tmp_path / "model.fastnn", training=training)
        assert fastnn.info(tmp_path / "model.fastnn").n_steps == n_steps
