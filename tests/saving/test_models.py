"""Saved models: what is loaded is of the same class, predicts the same, and goes on with the same bits."""

import numpy as np
import pytest
from saved_models import NAMED, X, classifier, fit_more, made, model, outputs, same, trained, y
from sklearn.exceptions import NotFittedError

import fastnn

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def saved(thing, folder, name="model.fastnn", **options):
    thing.save(folder / name, **options)
    return fastnn.load(folder / name)


def is_fitted(thing):
    return isinstance(thing, fastnn.Model) or thing.__sklearn_is_fitted__()


@pytest.mark.parametrize("name", NAMED)
def test_a_loaded_object_is_the_saved_one(name, tmp_path):
    thing = made(name)
    loaded = saved(thing, tmp_path)
    assert type(loaded) is type(thing)
    if is_fitted(thing):
        assert same(outputs(loaded), outputs(thing))
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
def test_a_loaded_object_goes_on_with_the_same_bits(name, tmp_path):
    thing = made(name)
    loaded = saved(thing, tmp_path)
    for _ in range(2):
        fit_more(thing, name)
        fit_more(loaded, name)
        assert same(outputs(loaded), outputs(thing))


@pytest.mark.parametrize("name", NAMED)
def test_without_the_training_state_it_predicts_the_same_and_can_be_fitted(name, tmp_path):
    thing = made(name)
    loaded = saved(thing, tmp_path, training=False)
    if is_fitted(thing):
        assert same(outputs(loaded), outputs(thing))
    fit_more(loaded, name)
    loaded.save(tmp_path / "more.fastnn")
    thing.save(tmp_path / "whole.fastnn")
    if is_fitted(thing) and not (isinstance(thing, fastnn.Model) and thing.history_ is None):
        assert (tmp_path / "model.fastnn").stat().st_size < (tmp_path / "whole.fastnn").stat().st_size


def test_generators_are_kept(tmp_path):
    for bits in (np.random.MT19937, np.random.PCG64, np.random.Philox, np.random.SFC64, np.random.PCG64DXSM):
        random = np.random.RandomState(bits(5))
        random.normal()  # a second normal number is in reserve
        loaded = saved(classifier(random_state=random), tmp_path)
        assert loaded.random_state.normal(size=3).tolist() == random.normal(size=3).tolist()


def test_later_parameters_have_their_defaults(tmp_path, monkeypatch):
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
    pass


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
def test_what_a_file_cannot_hold_is_refused_by_name(thing, message, tmp_path):
    thing = thing()
    with pytest.raises(ValueError, match=message):
        thing.save(tmp_path / "model.fastnn")
    assert not list(tmp_path.iterdir())


def test_a_schedule_that_is_a_function_matters_to_the_training_state_alone(tmp_path):
    thing = trained(model(), y, schedule=factor)
    assert same(outputs(saved(thing, tmp_path, training=False)), outputs(thing))


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("missing/model.fastnn", "there is no folder"),
        (".", "is a folder, not the name of a model's file"),
        ("a\0b", "a file cannot be called"),
    ],
)
def test_names_that_no_file_can_have(path, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        model().save(tmp_path / path)


def test_arguments_are_checked(tmp_path):
    with pytest.raises(TypeError, match="path must be a path, got 3"):
        model().save(3)
    with pytest.raises(ValueError, match="training must be True or False"):
        model().save(tmp_path / "model.fastnn", training="no")
    with pytest.raises(FileNotFoundError):
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
