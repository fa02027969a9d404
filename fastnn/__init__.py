"""fastnn: small neural networks, trained on the CPU at the speed of the hardware."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from .boundary.dask import boundary_array as boundary_array
    from .boundary.image import BoundaryImage as BoundaryImage
    from .boundary.lines import boundary_lines as boundary_lines
    from .boundary.render import render_boundary as render_boundary
    from .estimators.classifier import MLPClassifier as MLPClassifier
    from .estimators.ensemble import MLPEnsembleClassifier as MLPEnsembleClassifier
    from .estimators.ensemble import MLPEnsembleRegressor as MLPEnsembleRegressor
    from .estimators.many import fit_many as fit_many
    from .estimators.regressor import MLPRegressor as MLPRegressor
    from .losses import AbsoluteError as AbsoluteError
    from .losses import Huber as Huber
    from .losses import MulticlassHinge as MulticlassHinge
    from .losses import Poisson as Poisson
    from .losses import Quantile as Quantile
    from .losses import SigmoidBinaryCrossEntropy as SigmoidBinaryCrossEntropy
    from .losses import SoftmaxCrossEntropy as SoftmaxCrossEntropy
    from .losses import SquaredError as SquaredError
    from .model import Model as Model
    from .optimizers import LBFGS as LBFGS
    from .optimizers import SGD as SGD
    from .optimizers import Adagrad as Adagrad
    from .optimizers import Adam as Adam
    from .optimizers import AdamW as AdamW
    from .optimizers import Momentum as Momentum
    from .optimizers import Nesterov as Nesterov
    from .optimizers import RMSprop as RMSprop
    from .plotting.animation import animate_training as animate_training
    from .plotting.boundary import plot_decision_boundary as plot_decision_boundary
    from .plotting.history import plot_history as plot_history
    from .reference.gate import AddGate as AddGate
    from .reference.gate import MultiplyGate as MultiplyGate
    from .reference.layer import Sigmoid as Sigmoid
    from .reference.layer import Tanh as Tanh
    from .reference.output import Softmax as Softmax
    from .schedules import Constant as Constant
    from .schedules import CosineDecay as CosineDecay
    from .schedules import ExponentialDecay as ExponentialDecay
    from .schedules import InverseTimeDecay as InverseTimeDecay
    from .schedules import OneCycle as OneCycle
    from .schedules import StepDecay as StepDecay
    from .schedules import WarmUp as WarmUp
    from .training.callbacks import EarlyStopping as EarlyStopping
    from .training.divergence import DivergenceError as DivergenceError
    from .training.gradcheck import GradientReport as GradientReport
    from .training.history import History as History

# Resolved on first use (PEP 562): numba, scikit-learn and matplotlib are loaded when they are used.
_HOMES = {
    "AbsoluteError": "losses",
    "Adagrad": "optimizers",
    "Adam": "optimizers",
    "AdamW": "optimizers",
    "AddGate": "reference.gate",
    "BoundaryImage": "boundary.image",
    "Constant": "schedules",
    "CosineDecay": "schedules",
    "DivergenceError": "training.divergence",
    "EarlyStopping": "training.callbacks",
    "ExponentialDecay": "schedules",
    "GradientReport": "training.gradcheck",
    "History": "training.history",
    "Huber": "losses",
    "InverseTimeDecay": "schedules",
    "LBFGS": "optimizers",
    "MLPClassifier": "estimators.classifier",
    "MLPEnsembleClassifier": "estimators.ensemble",
    "MLPEnsembleRegressor": "estimators.ensemble",
    "MLPRegressor": "estimators.regressor",
    "Model": "model",
    "Momentum": "optimizers",
    "MulticlassHinge": "losses",
    "MultiplyGate": "reference.gate",
    "Nesterov": "optimizers",
    "OneCycle": "schedules",
    "Poisson": "losses",
    "Quantile": "losses",
    "RMSprop": "optimizers",
    "SGD": "optimizers",
    "Sigmoid": "reference.layer",
    "SigmoidBinaryCrossEntropy": "losses",
    "Softmax": "reference.output",
    "SoftmaxCrossEntropy": "losses",
    "SquaredError": "losses",
    "StepDecay": "schedules",
    "Tanh": "reference.layer",
    "WarmUp": "schedules",
    "animate_training": "plotting.animation",
    "boundary_array": "boundary.dask",
    "boundary_lines": "boundary.lines",
    "fit_many": "estimators.many",
    "plot_decision_boundary": "plotting.boundary",
    "plot_history": "plotting.history",
    "render_boundary": "boundary.render",
}

__all__ = ["__version__", *_HOMES]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f".{_HOMES[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    # Submodules and what this file imports are attributes too, but nothing that users look for.
    return sorted({*__all__, *(name for name in globals() if name.startswith("__"))})
