"""Whole trainings and a schedule against PyTorch's, whose results `tests/torch_records` keeps.

Both sides start from the same parameters, in float64, and take the same steps. Where PyTorch is
installed, the records are compared with its present results.
"""

import numpy as np
import pytest
from estimator_checks import parameters
from torch_records.cases import DIMS, FILE, LOSSES, ONE_CYCLES, TRAININGS, X, first_parameters

import fastnn

# Some targets lie outside of the range of tanh.
pytestmark = pytest.mark.filterwarnings("ignore:y holds targets")

# fastnn and PyTorch differ only in the order of sums.
CLOSE = {"rtol": 1e-10, "atol": 1e-11}
with np.load(FILE) as file:
    RECORDS = dict(file)


@pytest.mark.parametrize("backend", ["numba", "numpy"])
@pytest.mark.parametrize("name", TRAININGS)
def test_a_training_matches_pytorch(name, backend):
    case = TRAININGS[name]
    losses, expected = (RECORDS[f"{name}: {part}"] for part in ("losses", "parameters"))
    model = fastnn.Model(list(DIMS), loss=LOSSES[case.loss][0], random_state=0, backend=backend)
    model.W, model.b = first_parameters()
    assert model.calculate_loss(X, case.targets) == pytest.approx(losses[0], rel=1e-13)
    options = {"optimizer": case.optimizer, "reduction": "mean", "reg_lambda": 0.0}
    history = model.train(X, case.targets, num_passes=case.n_passes, epsilon=case.rate, **options)
    np.testing.assert_allclose(parameters(model), expected, **CLOSE)
    assert history.loss[0] == pytest.approx(losses[0], rel=1e-13)
    assert model.calculate_loss(X, case.targets) == pytest.approx(losses[1], rel=1e-10)


@pytest.mark.parametrize("name", ONE_CYCLES)
def test_one_cycle_matches_pytorch(name):
    arguments, total = ONE_CYCLES[name]
    factors = fastnn.OneCycle(**arguments).factors(np.arange(total), total)
    np.testing.assert_allclose(factors, RECORDS[name], rtol=1e-12)


def test_the_records_match_pytorch():
    pytest.importorskip("torch", reason="PyTorch is not installed: it is in the extra peers")
    from torch_records.twin import results

    found = results()
    assert found.keys() == RECORDS.keys()
    for name, array in found.items():
        np.testing.assert_allclose(RECORDS[name], array, **CLOSE, err_msg=name)
