"""Information about files, in Python and on the command line."""

import numpy as np
import pytest
from saved_models import NAMED, X, make, model, y

import fastnn
from fastnn.cli import main as cli


@pytest.mark.parametrize("name", NAMED)
def test_every_kind_is_described(name, tmp_path):
    thing = make(name)
    thing.save(tmp_path / "model.fastnn")
    found = fastnn.info(tmp_path / "model.fastnn")
    assert found.kind == type(thing).__name__
    assert found.version == fastnn.__version__
    assert found.n_bytes == (tmp_path / "model.fastnn").stat().st_size
    assert found.kind in str(found)
    if isinstance(thing, fastnn.Model):
        assert found.layers_dim == thing.layers_dim
        n_parameters = sum(array.size for array in (*thing.W, *thing.b))
        n_parameters += sum(norm.scale.size + norm.shift.size for norm in thing.batch_norm)
        assert found.n_parameters == n_parameters
        assert found.dtype == thing.dtype.name
    elif hasattr(thing, "classes_"):
        assert found.classes == thing.classes_.tolist()
    if hasattr(thing, "estimators_"):
        assert found.n_members == len(thing.estimators_)
        assert found.n_parameters == sum(
            array.size for member in thing.estimators_ for array in (*member.coefs_, *member.intercepts_)
        )


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
