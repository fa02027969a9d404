"""Small neural networks, trained on the CPU at the speed of the hardware.

- `Model`: a network of any layers, trained by `Model.train`; ``help(fastnn.Model)`` has examples.
- `MLPClassifier`, `MLPRegressor` and their ensembles: scikit-learn's estimators, faster.
- `TabularClassifier`, `TabularRegressor`: networks on data frames, as they are.
- `plot_decision_boundary`, `render_boundary`, `animate_training`: pictures of what a network decides.
- `playground()`: a page in the browser that shows a network learn. ``fastnn --help``: the command line.

``dir(fastnn)`` lists all names. The documentation is the folder ``docs`` of the sources, which the source
distribution includes; it begins with ``docs/index.md``.
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from .backprop import Backprop as Backprop
    from .boundary.dask import boundary_array as boundary_array
    from .boundary.image import BoundaryImage as BoundaryImage
    from .boundary.lines import boundary_lines as boundary_lines
    from .boundary.render import render_boundary as render_boundary
    from .estimators.classifier import MLPClassifier as MLPClassifier
    from .estimators.ensemble import MLPEnsembleClassifier as MLPEnsembleClassifier
    from .estimators.ensemble import MLPEnsembleRegressor as MLPEnsembleRegressor
    from .estimators.many import fit_many as fit_many
    from .estimators.pipelines import jacobian as jacobian
    from .estimators.regressor import MLPRegressor as MLPRegressor
    from .exercises import check_exercise as check_exercise
    from .export.c import to_c as to_c
    from .losses import *  # noqa: F403
    from .model import Model as Model
    from .optimizers import *  # noqa: F403
    from .play.server import playground as playground
    from .plotting.animation import animate_training as animate_training
    from .plotting.boundary import plot_decision_boundary as plot_decision_boundary
    from .plotting.history import plot_history as plot_history
    from .reference.gate import AddGate as AddGate
    from .reference.gate import MultiplyGate as MultiplyGate
    from .reference.layer import Sigmoid as Sigmoid
    from .reference.layer import Tanh as Tanh
    from .reference.output import Softmax as Softmax
    from .saving.files import load as load
    from .saving.information import info as info
    from .schedules import *  # noqa: F403
    from .tables.encoding.dates import DateEncoder as DateEncoder
    from .tables.encoding.encoder import TableEncoder as TableEncoder
    from .tables.encoding.transformers import PiecewiseLinearEncoder as PiecewiseLinearEncoder
    from .tables.encoding.transformers import SmoothRobustScaler as SmoothRobustScaler
    from .tables.estimators import TabularClassifier as TabularClassifier
    from .tables.estimators import TabularRegressor as TabularRegressor
    from .tables.plotting import plot_calibration as plot_calibration
    from .tables.plotting import plot_importances as plot_importances
    from .tables.plotting import plot_residuals as plot_residuals
    from .training.callbacks import EarlyStopping as EarlyStopping
    from .training.checkpoint import Checkpoint as Checkpoint
    from .training.divergence import DivergenceError as DivergenceError
    from .training.gradcheck import GradientReport as GradientReport
    from .training.history import History as History

# Names are resolved on first use (PEP 562): numba, scikit-learn and matplotlib are loaded when they are used.
_HOMES = {
    "AddGate": "reference.gate",
    "Backprop": "backprop",
    "BoundaryImage": "boundary.image",
    "Checkpoint": "training.checkpoint",
    "DateEncoder": "tables.encoding.dates",
    "DivergenceError": "training.divergence",
    "EarlyStopping": "training.callbacks",
    "GradientReport": "training.gradcheck",
    "History": "training.history",
    "MLPClassifier": "estimators.classifier",
    "MLPEnsembleClassifier": "estimators.ensemble",
    "MLPEnsembleRegressor": "estimators.ensemble",
    "MLPRegressor": "estimators.regressor",
    "Model": "model",
    "MultiplyGate": "reference.gate",
    "PiecewiseLinearEncoder": "tables.encoding.transformers",
    "Sigmoid": "reference.layer",
    "SmoothRobustScaler": "tables.encoding.transformers",
    "Softmax": "reference.output",
    "TableEncoder": "tables.encoding.encoder",
    "TabularClassifier": "tables.estimators",
    "TabularRegressor": "tables.estimators",
    "Tanh": "reference.layer",
    "animate_training": "plotting.animation",
    "boundary_array": "boundary.dask",
    "boundary_lines": "boundary.lines",
    "check_exercise": "exercises",
    "fit_many": "estimators.many",
    "info": "saving.information",
    "jacobian": "estimators.pipelines",
    "load": "saving.files",
    "plot_calibration": "tables.plotting",
    "plot_decision_boundary": "plotting.boundary",
    "plot_history": "plotting.history",
    "plot_importances": "tables.plotting",
    "plot_residuals": "tables.plotting",
    "playground": "play.server",
    "render_boundary": "boundary.render",
    "to_c": "export.c",
}

# Modules whose ``__all__`` lists only public names: each of these names is a name of fastnn.
_CATALOGUES = ("losses", "optimizers", "schedules")


# Subpackages that users name, imported on first use.
_SUBPACKAGES = ("export",)


def __getattr__(name: str) -> Any:
    if name in _SUBPACKAGES:
        return import_module(f"{__name__}.{name}")
    if name == "__all__":
        if sys._getframe(1).f_globals.get("__name__") == "pydoc":
            # help(fastnn) would show every class of the list with all methods: some 10,000 lines.
            raise AttributeError(name)
        return ["__version__", *_homes(), *_SUBPACKAGES]
    # Inspection tools ask for private names. None is public: answer without importing the catalogues.
    home = _HOMES.get(name) or (None if name.startswith("_") else _homes().get(name))
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{home}"), name)
    globals()[name] = value
    return value


def _homes() -> dict[str, str]:
    """Return the module of every public name, sorted by name."""
    names = {name: home for home in _CATALOGUES for name in import_module(f"{__name__}.{home}").__all__}
    return dict(sorted({**_HOMES, **names}.items()))


def __dir__() -> list[str]:
    names = {"__all__", *_homes(), *_SUBPACKAGES}  # imports modules, which changes the globals
    # Submodules and the modules imported above are attributes too, but not public names: leave them out.
    return sorted(names.union(name for name in globals() if name.startswith("__")))
