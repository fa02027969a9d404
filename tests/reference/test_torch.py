"""Whole trainings and schedules against PyTorch's, whose results `tests/torch_records` keeps.

Both sides start from the same parameters, in float64, and take the same steps. Where PyTorch is
installed, the records are compared with its present results.
"""

import numpy as np
import pytest
from torch_records import records
from torch_records.cases import LOSSES, SCHEDULES, SEED, TRAININGS, N, X

import fastnn

# Some targets lie outside of the range of tanh.
pytestmark = pytest.mark.filterwarnings("ignore:y holds targets")

# fastnn and PyTorch differ only in the order of sums.
CLOSE = {"rtol": 1e-10, "atol": 1e-11}
RECORDS = records()


def list_parameters(model):
    """Return the parameters of a model as one vector, in the order of the records."""
    normed = [*(layer.scale for layer in model.batch_norm), *(layer.shift for layer in model.batch_norm)]
    return np.concatenate([array.ravel() for array in (*model.W, *model.b, *normed)])


def list_running(model):
    """Return the running statistics of the normalised layers as one vector."""
    running = [(layer.running_mean, layer.running_variance) for layer in model.batch_norm]
    return np.concatenate([np.stack(part).ravel() for part in running])


def make_model(case, backend):
    """Return an untrained model of a case, with the case's first parameters."""
    *hidden, last = case.layer_activations
    options = {"batch_norm": case.batch_norm, "dropout": list(case.dropout) or 0.0, "backend": backend}
    options |= {"activation": hidden, "output_activation": last, "loss": LOSSES[case.loss][0]}
    model = fastnn.Model(list(case.dims), random_state=0, **options)
    model.W, model.b = case.first_parameters()
    return model


@pytest.mark.parametrize(
    ("name", "backend"), [(name, backend) for name, case in TRAININGS.items() for backend in case.backends]
)
def test_a_training_matches_pytorch(name, backend):
    case = TRAININGS[name]
    expected = {
        part: RECORDS[f"{name}: {part}"]
        for part in ("parameters", "losses", "norms", "running", "probabilities")
        if f"{name}: {part}" in RECORDS
    }
    model = make_model(case, backend)
    before = [W.copy() for W in model.W]
    first_loss, last_loss = expected["losses"]
    rounding = 1e-12 if case.factor > 1 else 1e-13
    assert model.calculate_loss(X, case.targets) == pytest.approx(first_loss, rel=rounding)
    options = {"num_passes": case.n_passes, "epsilon": case.rate, "reg_lambda": 0.0, "shuffle": False}
    options |= {"optimizer": case.optimizer, "reduction": case.reduction, "clip_norm": case.clip_norm}
    options["schedule"] = "exponential_decay" if case.decays else "constant"
    options["batch_size"] = None if case.batch_size == N else case.batch_size
    history = model.train(X, case.targets, random_state=SEED, **options)
    close = CLOSE
    if not case.clips_exactly:
        # PyTorch divides by norm + 1e-6: its steps, rate * limit long, are too short by a factor of
        # 1 - 1e-6 / norm, and the shortfalls add up (training does not magnify them).
        close = {
            "rtol": 0,
            "atol": case.n_passes * case.rate * case.clip_norm * 1e-6 / min(expected["norms"]),
        }
    np.testing.assert_allclose(list_parameters(model), expected["parameters"], **close)
    assert model.calculate_loss(X, case.targets) == pytest.approx(
        last_loss, rel=1e-10 if case.clips_exactly else 1e-5
    )
    if case.n_passes and case.batch_size == N:
        assert history.loss[0] == pytest.approx(first_loss, rel=rounding)
    if case.clip_norm is not None:
        assert min(expected["norms"]) > case.clip_norm, "every step must be clipped"
        if case.clips_exactly:
            np.testing.assert_allclose(history.gradient_norm, expected["norms"], rtol=1e-10)
    if case.batch_norm:
        np.testing.assert_allclose(list_running(model), expected["running"], **CLOSE)
    if "probabilities" in expected and case.clips_exactly:
        np.testing.assert_allclose(model.predict_proba(X), expected["probabilities"], **CLOSE)
        np.testing.assert_array_equal(model.predict(X), expected["probabilities"].argmax(1))
    if case.n_passes:
        moved = [np.abs(W - first).max() for W, first in zip(model.W, before, strict=True)]
        assert min(moved) > 1e-4, "every layer must be trained"


@pytest.mark.parametrize("name", SCHEDULES)
def test_schedules_match_pytorch(name):
    schedule, total, *_ = SCHEDULES[name]
    factors = schedule.factors(np.arange(total), total)
    close = {"rtol": 1e-12} if isinstance(schedule, fastnn.OneCycle) else {"rtol": 1e-9, "atol": 1e-9}
    np.testing.assert_allclose(factors, RECORDS[name], **close)


def test_the_records_match_pytorch():
    pytest.importorskip("torch", reason="PyTorch is not installed: it is in the extra peers")
    from torch_records.twin import results

    found = results()
    assert found.keys() == RECORDS.keys()
    for name, array in found.items():
        np.testing.assert_allclose(RECORDS[name], array, **CLOSE, err_msg=name)
