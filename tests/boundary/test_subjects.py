"""`_decision_networks`, the method by which pictures read a model: its networks and its classes."""

import numpy as np
import pytest
from sklearn.exceptions import NotFittedError
from views import X, y

import fastnn


@pytest.mark.parametrize(
    ("sizes", "options", "classes", "n_labels"),
    [
        ([2, 3, 4], {}, [0, 1, 2, 3], 0),
        ([2, 3, 2], {"loss": "multiclass_hinge", "backend": "numpy"}, [0, 1], 0),
        ([2, 3, 1], {"loss": "sigmoid_binary_cross_entropy"}, [0, 1], 0),
        ([2, 3, 3], {"loss": "sigmoid_binary_cross_entropy"}, [0, 1], 3),
        ([2, 3, 3], {"loss": "squared_error", "batch_norm": True}, None, 0),
    ],
)
def test_a_model_is_one_network_with_batch_normalisation_folded_in(sizes, options, classes, n_labels):
    model = fastnn.Model(sizes, random_state=0, **options)
    networks = model._decision_networks()
    ((network, parameters),) = networks.members
    assert (networks.n_inputs, networks.n_outputs) == (network.n_inputs, network.n_outputs) == (2, sizes[-1])
    assert (networks.classes if classes is None else networks.classes.tolist()) == classes
    assert networks.n_labels == n_labels
    assert networks.backend == model.backend
    assert not networks.votes
    np.testing.assert_array_equal(parameters, network.folded(model._parameters, model._statistics))


@pytest.mark.parametrize(
    ("targets", "classes", "n_outputs", "n_labels"),
    [
        (np.array(["no", "yes"])[y], ["no", "yes"], 1, 0),
        (np.arange(len(y)) % 3, [0, 1, 2], 3, 0),
        (np.stack([y, 1 - y], axis=1), [0, 1], 2, 2),
    ],
)
@pytest.mark.filterwarnings("ignore:.*did(n't| not) converge|.*[Mm]aximum")
def test_a_classifier_is_one_network_and_an_ensemble_several_that_vote(targets, classes, n_outputs, n_labels):
    classifier = fastnn.MLPClassifier((3,), max_iter=2, random_state=0)
    ensemble = fastnn.MLPEnsembleClassifier(classifier, n_estimators=2, random_state=0)
    for model, n_members in ((classifier, 1), (ensemble, 2)):
        networks = model.fit(X, targets)._decision_networks()
        assert len(networks.members) == n_members
        assert networks.classes.tolist() == classes
        assert (networks.n_inputs, networks.n_outputs, networks.n_labels) == (2, n_outputs, n_labels)
        assert networks.votes == (model is ensemble)


@pytest.mark.filterwarnings("ignore:.*did(n't| not) converge|.*[Mm]aximum")
def test_a_classifier_of_a_single_class_has_no_decision_networks():
    classifier = fastnn.MLPClassifier((3,), max_iter=2, random_state=0)
    assert classifier.fit(X, np.zeros(len(X), int))._decision_networks() is None


@pytest.mark.parametrize("kind", [fastnn.MLPClassifier, fastnn.MLPEnsembleClassifier])
def test_a_classifier_must_be_fitted(kind):
    with pytest.raises(NotFittedError):
        kind()._decision_networks()
    with pytest.raises(NotFittedError):
        fastnn.render_boundary(kind(), (0, 1), (0, 1), 4)
