"""Predictions of networks of every loss: classes, labels, probabilities or outputs."""

import numpy as np
import pytest
from small_models import BACKENDS, X

import fastnn


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_loss_decides_what_is_predicted(backend):
    def model_of(loss):
        return fastnn.Model(
            [2, 4, 3], output_activation="identity", loss=loss, backend=backend, random_state=0
        )

    labels = model_of("softmax_cross_entropy")
    probabilities = labels.predict_proba(X)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-12)
    assert (labels.predict(X).shape, labels.predict(X).dtype) == ((200,), np.int64)
    np.testing.assert_array_equal(labels.predict(X), probabilities.argmax(axis=1))

    several = model_of("sigmoid_binary_cross_entropy")
    probabilities = several.predict_proba(X)
    assert ((probabilities > 0) & (probabilities < 1)).all()
    assert (several.predict(X).shape, several.predict(X).dtype) == ((200, 3), np.int64)
    np.testing.assert_array_equal(several.predict(X), probabilities > 0.5)

    outputs = model_of("squared_error").predict(X)
    assert (outputs.shape, outputs.dtype) == ((200, 3), np.float64)
    # Networks of one seed have the same parameters, and thus the same scores for every loss.
    np.testing.assert_allclose(1 / (1 + np.exp(-outputs)), probabilities, rtol=1e-12)
    np.testing.assert_allclose(model_of("poisson").predict(X), np.exp(outputs), rtol=1e-12)
    np.testing.assert_allclose(
        model_of("multiclass_hinge").predict_proba(X), labels.predict_proba(X), rtol=1e-12
    )
    for loss in ("squared_error", "absolute_error", "huber", "quantile", "poisson"):
        with pytest.raises(ValueError, match=f"the loss '{loss}' has no probabilities: use predict"):
            model_of(loss).predict_proba(X)
