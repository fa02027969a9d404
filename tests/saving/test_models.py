"""Saved models: a loaded object has the same class and predictions, and trains further with the same bits."""

import numpy as np
import pytest
from saved_models import NAMED, X, assert_same_predictions, classifier, fit_more, make, model, trained, y
from sklearn.exceptions import NotFittedError

import fastnn

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def saved(thing, folder, name="model.fastnn", **options):
    thing.save(folder / name, **options)
    return fastnn.load(folder / name)


def is_fitted(thing):
    return isinstance(thing, fastnn.Model) or thing.__sklearn_is_fitted__()


@pytest.mark.parametrize("name", NAMED)
def test_a_loaded_object_equals_the_saved_one(name, tmp_path):
    thing = make(name)
    loaded = saved(thing, tmp_path)
    assert type(loaded) is type(thing)
    if is_fitted(thing):
        assert_same_predictions(loaded, thing)
    else:
        with pytest.raises(NotFittedError):
            loaded.predict(X)
    if isinstance(thing, fastnn.Model):
        assert repr(loaded) == repr(thing)
    else:
        assert repr(loaded.get_params()) == repr(thing.get_params()) or "RandomState" in repr(
            thing.get_params()
        )
        public = {key for key in vars(thing) if not key.startswith("_")}
        assert public <= set(vars(loaded))
        assert getattr(loaded, "loss_curve_", None) == getattr(thing, "loss_curve_", None)
    loaded.save(tmp_path / "again.fastnn")
    assert (tmp_path / "again.fastnn").read_bytes() == (tmp_path / "model.fastnn").read_bytes()


@pytest.mark.parametrize("name", NAMED)
def test_a_loaded_object_trains_further_with_the_same_bits(name, tmp_path):
    thing = make(name)
    loaded = saved(thing, tmp_path)
    for _ in range(2):
        fit_more(thing, name)
        fit_more(loaded, name)
        assert_same_predictions(loaded, thing)


@pytest.mark.parametrize("name", NAMED)
def test_an_object_saved_without_training_state_predicts_the_same_and_can_be_fitted(name, tmp_path):
    thing = make(name)
    loaded = saved(thing, tmp_path, training=False)
    if is_fitted(thing):
        assert_same_predictions(loaded, thing)
    fit_more(loaded, name)
    loaded.save(tmp_path / "more.fastnn")
    thing.save(tmp_path / "whole.fastnn")
    if is_fitted(thing) and not (isinstance(thing, fastnn.Model) and thing.history_ is None):
        assert (tmp_path / "model.fastnn").stat().st_size < (tmp_path / "whole.fastnn").stat().st_size


def test_generators_of_random_numbers_are_saved_with_their_state(tmp_path):
    for bits in (np.random.MT19937, np.random.PCG64, np.random.Philox, np.random.SFC64, np.random.PCG64DXSM):
        random = np.random.RandomState(bits(5))
        random.normal()  # the generator now keeps a second normal number for the next call
        loaded = saved(classifier(random_state=random), tmp_path)
        assert loaded.random_state.normal(size=3).tolist() == random.normal(size=3).tolist()


def test_a_parameter_that_a_later_version_adds_has_its_default(tmp_path, monkeypatch):
    classifier(alpha=0.5).fit(X, y).save(tmp_path / "model.fastnn")
    init = fastnn.MLPClassifier.__init__

    def later(self, hidden_layer_sizes=(100,), *, novelty=7, **others):
        init(self, hidden_layer_sizes, **others)
        self.novelty = novelty

    later.__signature__ = _with_novelty(init)
    monkeypatch.setattr(fastnn.MLPClassifier, "__init__", later)
    loaded = fastnn.load(tmp_path / "model.fastnn")
    assert (loaded.novelty, loaded.alpha) == (7, 0.5)


def _with_novelty(init):
    import inspect

    signature = inspect.signature(init)
    novelty = inspect.Parameter("novelty", inspect.Parameter.KEYWORD_ONLY, default=7)
    return signature.replace(parameters=[*signature.parameters.values(), novelty])


class Curious(fastnn.MLPClassifier):
    """A user's class."""


def test_users_classes_are_refused_by_name(tmp_path):
    with pytest.raises(ValueError, match="a Curious, a subclass of MLPClassifier.*pickle"):
        Curious().fit(X, y).save(tmp_path / "model.fastnn")
    assert not list(tmp_path.iterdir())


def factor(step):
    return 0.9**step


def score(estimator, X, y):
    return 1.0


@pytest.mark.parametrize(
    ("thing", "message"),
    [
        (lambda: classifier(learning_rate=factor), "learning_rate is the function factor.*nothing in a file"),
        (lambda: classifier(scoring=score), "scoring is the function score"),
        (lambda: trained(model(), y, schedule=factor), "schedule is the function factor.*training=False"),
        (
            lambda: fastnn.MLPEnsembleClassifier(classifier(learning_rate=factor)),
            "learning_rate is the function factor",
        ),
    ],
)
def test_functions_are_refused_by_name(thing, message, tmp_path):
    thing = thing()
    with pytest.raises(ValueError, match=message):
        thing.save(tmp_path / "model.fastnn")
    assert not list(tmp_path.iterdir())


def test_a_model_with_a_function_as_schedule_can_be_saved_without_training_state(tmp_path):
    thing = trained(model(), y, schedule=factor)
    assert_same_predictions(saved(thing, tmp_path, training=False), thing)


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("missing/model.fastnn", "there is no folder"),
        (".", "is a folder, not the name of a model's file"),
        ("a\0b", "a file cannot be called"),
    ],
)
def test_names_that_no_file_can_have_are_refused(path, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        model().save(tmp_path / path)


def test_bad_arguments_are_refused(tmp_path):
    with pytest.raises(TypeError, match="path must be a path, got 3"):
        model().save(3)
    with pytest.raises(ValueError, match="training must be True or False"):
        model().save(tmp_path / "model.fastnn", training="no")
    with pytest.raises(FileNotFoundError, match="there is no file"):
        fastnn.load(tmp_path / "none.fastnn")


def test_a_failed_save_leaves_the_older_file(tmp_path, monkeypatch):
    from fastnn.saving import container

    path = tmp_path / "model.fastnn"
    model().save(path)
    before = path.read_bytes()

    def full(file, array):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(container, "_write_array", full)
    with pytest.raises(OSError, match=f"No space left on device: '{path}'"):
        trained(model(), y).save(path)
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["model.fastnn"]
