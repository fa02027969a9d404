"""`Model` for those who come from a tutorial: shapes, words of other libraries, warnings, what is shown."""

import copy
import pickle
import pydoc
import sys

import numpy as np
import pytest
from estimator_checks import parameters
from processes import run_python
from small_models import X, X_val, few, few_y, model_for, y, y_val

import fastnn

LINEAR = {"output_activation": "identity", "random_state": 0}


@pytest.mark.parametrize("loss", ["squared_error", "poisson", "sigmoid_binary_cross_entropy", "hinge"])
def test_predictions_have_the_dimensions_of_the_targets(loss, backend, tmp_path):
    model, column = (fastnn.Model([2, 3, 1], loss=loss, backend=backend, **LINEAR) for _ in range(2))
    targets, shapes = 2 * y - 1 if loss == "hinge" else y, []
    assert model.predict(X).shape == (200, 1)
    with pytest.raises(ValueError, match="NaN"):
        model.train(X * np.nan, targets)
    assert model.predict(X).shape == (200, 1), "a refused training changes nothing"
    options = {"num_passes": 50, "epsilon": 0.01, "reduction": "mean"}
    model.train(X, targets, callbacks=[lambda history: shapes.append(model.predict(X).shape)], **options)
    column.train(X, targets[:, None], **options)
    assert set(shapes) == {(200,)}
    methods = ["predict", "predict_proba"] if loss == "sigmoid_binary_cross_entropy" else ["predict"]
    model.save(tmp_path / "model.fastnn")
    copies = fastnn.load(tmp_path / "model.fastnn"), pickle.loads(pickle.dumps(model)), copy.deepcopy(model)
    for method in methods:
        expected = getattr(column, method)(X)
        assert expected.shape == (200, 1)
        for one in (model, *copies):
            np.testing.assert_array_equal(getattr(one, method)(X), expected[:, 0])
        predict = pickle.loads(pickle.dumps(model.predictor(3, method)))
        first, second = predict(X[:3]), predict(X[3:6])
        np.testing.assert_array_equal([*first, *second], expected[:6, 0])
    model.train(X, targets[:, None], num_passes=0)
    assert model.predict(X).shape == (200, 1)


@pytest.mark.parametrize("init", ["tutorial", "he_normal"])
def test_a_network_that_cannot_be_drawn_is_refused_before_it_takes_memory(init, monkeypatch):
    """Its parameters fit into the free memory, but not the arrays of float64 in which the first are drawn."""
    n_units = 1 << 25
    n_parameters, n_drawn = 4 * n_units, 2 * n_units
    free = 4 * n_parameters + 0.7 * 2 * 8 * n_drawn
    monkeypatch.setattr("fastnn.system.memory.get_free_memory", lambda: free)
    monkeypatch.setattr(np.random, "randn", lambda *shape: pytest.fail("has drawn"))
    with pytest.raises(MemoryError, match=r"layers \[2, 33554432, 1, 1\] takes .* give it fewer or narrower"):
        fastnn.Model([2, n_units, 1, 1], dtype=np.float32, init=init)


def test_small_numbers_do_not_raise_what_a_user_has_numpy_raise(dtype, backend):
    tiny = np.full((5, 2), 1e-300)
    with np.errstate(under="raise"):
        model = fastnn.Model([2, 3, 2], dtype=dtype, backend=backend, batch_norm=True, random_state=0)
        schedule = fastnn.ExponentialDecay(gamma=1e-300)
        model.train(tiny, [0, 1, 0, 1, 0], num_passes=3, schedule=schedule, validation_data=(tiny, [0] * 5))
        model.predict_proba(tiny)
        model.predictor()(tiny[0])
        model.W[0] = np.full((2, 3), 1e-300)
        assert np.isfinite(model.calculate_loss(tiny, [0, 1, 0, 1, 0], reg_lambda=1e-300))


WORDS = [
    (lambda: model_for().train(X, y, lr=0.1), "train.* has no argument 'lr': it is called 'epsilon' here"),
    (lambda: model_for().train(X, y, learning_rate=0.1), "it is called 'epsilon' here"),
    (lambda: model_for().train(X, y, epochs=5), "it is called 'num_passes' here"),
    (lambda: model_for().train(X, y, 5, 0.1, 0.1, False, 7), "takes 6 positional arguments, got 7: pass the"),
    (lambda: fastnn.Model(2, 3, 2), r"layer sizes as one list, as in Model\(\[2, 3, 2\]\)"),
    (lambda: fastnn.Model([2, 2], hidden=3), r"Model\(\) has no argument 'hidden': choose from layers_dim"),
    (lambda: fastnn.Adam(lr=0.1), r"Adam\(\) has no .*it is epsilon of Model.train, and learning_rate_init"),
    (lambda: fastnn.CosineDecay(lr=0.1), r"CosineDecay\(\) has no argument 'lr'"),
    (lambda: fastnn.Huber(1, 2), r"Huber\(\) takes 1 positional argument, got 2"),
    (lambda: fastnn.Poisson(1), r"Poisson\(\) takes 0 positional arguments, got 1: it takes none"),
    (lambda: fastnn.MLPEnsembleRegressor(loss="huber"), "Regressor.* no argument 'loss': .* estimator"),
    (lambda: fastnn.MLPClassifier(lr=0.1), "it is called 'learning_rate_init' here"),
    (lambda: model_for(loss="mse"), "got 'mse': it is called 'squared_error' here"),
    (lambda: model_for(activation="softmax"), "got 'softmax': the loss 'softmax_cross_entropy' computes it"),
    (lambda: model_for(output_activation="softmax"), "pass output_activation='identity'"),
    (lambda: model_for().fit(X, y), "Model has no attribute 'fit': it is called 'train' here"),
    (lambda: fastnn.Adam().step(), "'Adam' object has no attribute 'step': fastnn.Backprop"),
    (lambda: fastnn.Huber().backward(), "'Huber' object has no attribute 'backward': fastnn.Backprop"),
    (lambda: model_for().score(X, y), r"'score': the accuracy is \(model.predict\(X\) == y\).mean\(\)"),
]


@pytest.mark.parametrize(("call", "message"), WORDS)
def test_words_of_other_libraries_are_explained(call, message):
    assert {"train", "fit"} & {*dir(model_for())} == {"train"}
    with pytest.raises((TypeError, ValueError, AttributeError), match=message):
        call()


@pytest.mark.parametrize("reduction", ["sum", "mean"])
@pytest.mark.parametrize("batch_norm", [False, True])
def test_the_loss_may_include_the_penalty(batch_norm, reduction, capsys):
    model = model_for(batch_norm=batch_norm)
    options = {"reg_lambda": 0.3, "reduction": reduction}
    model.train(few, few_y, num_passes=3, epsilon=0.01, print_loss="objective", print_every=2, **options)
    penalty = 0.15 * sum(float((W**2).sum()) for W in model.W) / (37 if reduction == "sum" else 1)
    total = model.calculate_loss(few, few_y, **options)
    assert total == pytest.approx(model.calculate_loss(few, few_y) + penalty, rel=1e-12)
    assert capsys.readouterr().out.splitlines()[-1] == f"Loss after iteration 2: {total:f}"


def test_biases_may_be_vectors():
    model, rows = fastnn.Model([1, 3, 2], random_state=0), [np.arange(3.0), np.ones(2)]
    model.b = rows
    assert [b.tolist() for b in model.b] == [[row.tolist()] for row in rows]


def test_progress_needs_no_stderr(monkeypatch):
    monkeypatch.setattr(sys, "stderr", None)
    model, alone = model_for(), model_for()
    model.train(X, y, num_passes=5, progress=True, validation_data=(X_val, y_val))
    alone.train(X, y, num_passes=5)
    np.testing.assert_array_equal(parameters(model), parameters(alone))


def test_progress_in_a_notebook_without_ipywidgets_does_not_warn():
    program = """
        import sys, warnings
        from types import SimpleNamespace

        kernel = SimpleNamespace(config={"IPKernelApp": {}})
        sys.modules["IPython"] = SimpleNamespace(get_ipython=lambda: kernel)
        sys.modules["ipywidgets"] = None
        import fastnn

        warnings.simplefilter("error")
        model = fastnn.Model([2, 3, 2], backend="numpy", random_state=0)
        model.train([[0, 1], [1, 0]], [0, 1], num_passes=5, progress=True)
        print("trained")
    """
    assert run_python(program).split() == ["trained"]


def test_representations_name_what_an_object_is():
    layers = [fastnn.MultiplyGate(), fastnn.AddGate(), fastnn.Sigmoid(), fastnn.Tanh(), fastnn.Softmax()]
    assert repr(layers) == "[MultiplyGate(), AddGate(), Sigmoid(), Tanh(), Softmax()]"
    model = model_for(loss=fastnn.MulticlassHinge(2.0))
    history = model.train(X, y, num_passes=30, epsilon=0.001)
    for thing, n_rows, texts in (
        (model, 3, ["loss=MulticlassHinge(margin=2.0)", "<td>tanh</td>", "<td>9</td>"]),
        (history, 6, ["(epochs=30", "<th>loss</th>", "<td>29</td>", f"<td>{history.loss[-1]:.4g}</td>"]),
        (model_for().train(X, y, num_passes=0), 1, ["History(no epochs)"]),
    ):
        html = thing._repr_html_()
        assert html.count("<tr>") == n_rows
        assert all(text in html for text in texts), html


def test_help_on_the_package_is_short_and_names_the_first_steps():
    text = pydoc.plain(pydoc.render_doc(fastnn))
    assert len(text.splitlines()) < 120
    for name in ("Model", "MLPClassifier", "TabularClassifier", "playground", "docs"):
        assert name in fastnn.__doc__
        assert name in text
    assert len(fastnn.__doc__.splitlines()) >= 10
    assert "Model" in fastnn.__all__
