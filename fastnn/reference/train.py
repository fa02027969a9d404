"""The training loop: steps on batches of the samples."""

import numpy as np

from .loss import loss_backward, loss_value
from .network import Affine, Normalisation, backward_pass, forward_pass, make_training_chain
from .random import STEPS, draw, shuffle
from .update import add_to_average, limit_norms, update


def loss_and_gradient(network, parameters, statistics, X, y, weights, key, loss_parameter=None):
    """Return the weighted loss of a batch and its gradient, a flat vector like the parameters.

    loss_parameter: parameter of the loss's formulas in place of the network's own.
    """
    chain = make_training_chain(network, parameters, statistics, weights, key)
    parameter = network.loss.parameter if loss_parameter is None else loss_parameter
    arguments = network.loss.formulas, forward_pass(chain, X), y, weights, parameter
    backward_pass(chain, loss_backward(*arguments))
    gradient = np.zeros_like(parameters)
    gather_gradient(network, chain, gradient)
    return loss_value(*arguments), gradient


def gather_gradient(network, chain, gradient):
    """Copy the derivatives stored in the units of a chain to the flat vector `gradient`."""
    affines = [unit for unit in chain if isinstance(unit, Affine)]
    for unit, dW, db in zip(affines, network.weights(gradient), network.biases(gradient), strict=True):
        dW[...], db[...] = unit.dW, unit.db
    normalisations = iter([unit for unit in chain if isinstance(unit, Normalisation)])
    for dscale, dshift in zip(network.scales(gradient), network.shifts(gradient), strict=True):
        if dscale is not None:
            normalisation = next(normalisations)
            dscale[...], dshift[...] = normalisation.dscale, normalisation.dshift


def update_plateau(objective, tol, plateau):
    """Update plateau (2,) after an epoch: the best objective, and the number of epochs without improvement.

    An improvement is an objective below the best one by at least `tol`. NaN never becomes the best.
    """
    plateau[1] = plateau[1] + 1 if objective > plateau[0] - tol else 0
    plateau[0] = np.fmin(plateau[0], objective)


def clip_float(value, dtype):
    """Limit a float >= 0 to the range of `dtype`, and set a subnormal one to 0; return other values as is."""
    if not isinstance(value, float):
        return value
    limits = np.finfo(dtype)
    return 0.0 if value < limits.smallest_normal else min(value, float(limits.max))


def train_step(network, state, job, records):
    """Do one step of a training, and return True if every parameter is still finite.

    The step updates `state`, and `records` if the epoch is recorded. `network` describes the network, `job`
    the training.
    """
    step = int(state.progress[0])
    n_pass, batch = divmod(step, job.n_batches)
    if batch == 0 and job.shuffled:
        shuffle(state.generator, state.order)
    indices = state.order[batch * job.batch_size :][: job.batch_size]
    total = np.sum(job.weights[indices])
    scale = 1.0
    if job.is_mean:
        scale = 1 / total if total > 0 else 0.0
    weights = (scale * job.weights[indices]).astype(network.dtype)
    parameters = state.parameters
    y = job.y[indices]
    y = y[:, 0] if network.loss.of_labels and y.shape[1] == 1 else y
    key = draw(draw(job.seed, STEPS), job.steps_before + step)
    loss, gradient = loss_and_gradient(network, parameters, state.statistics, job.X[indices], y, weights, key)

    norm = np.sqrt(np.sum(gradient.astype(np.float64) ** 2))
    if 0 < job.clip_norm < norm:
        # No factor scales an infinite norm: use NaN, which ends the training.
        gradient *= network.dtype.type(job.clip_norm / norm if np.isfinite(norm) else np.nan)
    state.gradient[...] = gradient
    before = parameters.copy()
    is_weight = np.arange(network.n_parameters) < network.n_weights
    penalty = job.reg_lambda * (scale if job.of_objective else 1.0)
    l2 = (job.optimizer.l2 + penalty * is_weight).astype(network.dtype)
    l1 = (job.l1 * is_weight).astype(network.dtype)
    coefficients = {
        "rate": clip_float(float(job.rates(np.array([step]))[0]), network.dtype),
        "step": job.steps_before + step,
        **{name: clip_float(value, network.dtype) for name, value in job.optimizer.hyperparameters.items()},
    }
    finite = update(job.optimizer.name, gradient, parameters, state.optimizer, coefficients, l2, l1)
    if job.max_norm > 0:
        for W in network.weights(parameters):
            limit_norms(W, job.max_norm)
    if job.average_weight > 0:
        add_to_average(parameters, network.dtype.type(job.average_weight), state.average)

    record = job.record(n_pass)
    if record is not None and scale > 0 and job.of_objective:
        squares = np.sum(before[is_weight] ** 2)
        records.losses[record] += len(indices) * (loss * job.loss_share + 0.5 * penalty * squares)
    elif record is not None and scale > 0:
        records.losses[record] += loss / scale
    if job.patience and record is not None and batch == job.n_batches - 1:
        update_plateau(records.losses[record] / len(job.X), job.tol, state.plateau)
    if record is not None and batch == job.n_batches - 1 and not job.of_objective:
        records.norms[record] = norm
        pairs = zip(network.weights(parameters), network.weights(before), strict=True)
        for layer, (W, old) in enumerate(pairs):
            size = np.linalg.norm(old)
            records.ratios[record, layer] = np.linalg.norm(W - old) / size if size > 0 else 0.0
    state.progress[0] += 1
    return finite
