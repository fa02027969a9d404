"""Descriptions: they suffice to compute what the models compute, with the formulas of the reference."""

import numpy as np
import pytest
import scipy.special
from export_models import CASES, LIMITS, X, error, fitted, outputs

import fastnn
from fastnn.export.c.expressions import activation_function
from fastnn.export.formulas import VARIABLE, Expression, formula
from fastnn.reference.layer import ACTIVATIONS, Layer, activation_forward

# Few epochs do not converge.
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@pytest.mark.parametrize("dtype", LIMITS)
@pytest.mark.parametrize("case", CASES)
def test_descriptions_suffice_to_compute_the_outputs(case, dtype):
    model, samples = fitted(case, dtype.type)
    description = model._description()
    assert description.dtype == dtype
    assert error(description.outputs(samples), outputs(model, samples)) < LIMITS[dtype]


def test_descriptions_are_copies():
    model = fastnn.Model([2, 2], random_state=0)
    description = model._description()
    model.W[0][...] = 0
    assert description.members[0].layers[0].weights.all()


# Functions of operations that NumPy does not have by their names.
FUNCTIONS = {"sigmoid": scipy.special.expit}


def evaluated(node, Z):
    """Return the value of an expression for an array in place of its variable."""
    if not isinstance(node, Expression):
        return node
    if node is VARIABLE:
        return Z
    function = FUNCTIONS.get(node.operation) or getattr(np, node.operation)
    return function(*(evaluated(one, Z) for one in node.arguments))


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_formulas_equal_the_activations(activation):
    Z = np.linspace(-30, 30, 1001)
    np.testing.assert_allclose(
        evaluated(formula(activation), Z), activation_forward(activation, Z), rtol=1e-12, atol=1e-15
    )


def operations(node):
    """Return the names of all operations of an expression."""
    if not isinstance(node, Expression):
        return set()
    return {node.operation}.union(*map(operations, node.arguments))


def test_a_sigmoid_in_a_formula_is_one_operation():
    assert formula("sigmoid").operation == "sigmoid"
    assert operations(formula("silu")) == {"multiply", "variable", "sigmoid"}
    assert "exp" not in operations(formula("gelu"))


def test_a_new_activation_is_exported_from_its_formula(monkeypatch):
    class Bent(Layer):
        @staticmethod
        def value(Z):
            return np.where(Z > 1, np.sqrt(np.maximum(Z, 1)), np.clip(Z**2, 0, 1)) - np.log1p(np.exp(-(Z**4)))

    monkeypatch.setitem(ACTIVATIONS, "bent", Bent)
    Z = np.linspace(-3, 3, 101)
    np.testing.assert_allclose(evaluated(formula("bent"), Z), Bent.value(Z), rtol=1e-14)
    text = activation_function("bent", "net", np.dtype(np.float32))
    assert text.startswith("static inline float net_bent(float z)\n{")


def test_a_formula_with_an_unknown_function_is_refused(monkeypatch):
    class Odd(Layer):
        @staticmethod
        def value(Z):
            return np.arctan(Z)

    monkeypatch.setitem(ACTIVATIONS, "odd", Odd)
    with pytest.raises(TypeError, match=r"numpy.arctan cannot be exported"):
        formula("odd")


def test_models_that_are_not_fitted_or_know_one_class_are_refused():
    model = fastnn.MLPClassifier((2,))
    with pytest.raises(ValueError, match="not fitted"):
        model.to_c()
    model.fit(X[:5], ["a"] * 5)
    with pytest.raises(
        ValueError, match=r"two probabilities for one class: use its DummyClassifier.*to_onnx"
    ):
        model.to_sklearn()
    model.coefs_ = [np.full_like(W, np.nan) for W in model.coefs_]
    with pytest.raises(ValueError, match="hold NaN or infinity"):
        model.to_c()


@pytest.mark.parametrize("dtype", ["garbage", "float16", ">f8", 3, object(), fastnn.Adam(), int])
def test_a_dtype_other_than_float32_and_float64_is_refused(dtype):
    """NumPy finds None equal to float64, so that None must not stand for an unknown dtype."""
    for own in LIMITS:
        description = fastnn.Model([2, 3, 2], dtype=own)._description()
        with pytest.raises(ValueError, match="dtype must be float32 or float64, got"):
            description.converted(dtype)
