"""Information about a saved model."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..system.messages import escape_controls, pluralize
from .files import load_with_version


@dataclass(frozen=True)
class FileInfo:
    """Description of a saved model. Printed, it has a line for each attribute.

    Attributes
    ----------
    path : str
        Name of the file.
    n_bytes : int
        Size of the file.
    kind : str
        Name of the class.
    version : str
        Version of fastnn that wrote the file.
    layers_dim : tuple of int or None
        Numbers of inputs, of units of every hidden layer, and of outputs; for a tabular estimator, in each
        of its networks. None for an ensemble and for an estimator that is not fitted.
    activations : tuple of str or None
        Activation of every layer.
    dtype : str or None
        Data type of the parameters.
    loss : str or None
        Class of the loss.
    n_parameters : int
        Number of weights, biases, scales and shifts, of all members of an ensemble.
    n_members : int
        Number of members of an ensemble; 0 for other models.
    classes : list or None
        Classes of a classifier.
    n_steps : int or None
        Number of training steps done; None if the file holds no training state.
    num_passes : int or None
        Number of epochs of the whole training of a `Model`.
    parameters : dict
        Parameters of an estimator that are not None; empty for a `Model`.
    columns : list of dict
        Records of the columns of a tabular estimator or a `TableEncoder`, as its `columns_`.
    target : str or None
        Name of the column that a tabular estimator predicts.
    scores : dict
        Scores of a tabular estimator on rows that its networks were not trained on, by name.
    """

    path: str
    n_bytes: int
    kind: str
    version: str
    layers_dim: tuple[int, ...] | None
    activations: tuple[str, ...] | None
    dtype: str | None
    loss: str | None
    n_parameters: int
    n_members: int
    classes: list[Any] | None
    n_steps: int | None
    num_passes: int | None
    parameters: dict[str, Any]
    columns: list[dict[str, Any]]
    target: str | None
    scores: dict[str, float]

    def __str__(self) -> str:
        lines = [("file", f"{self.path}, {self.n_bytes:,} bytes"), ("kind", self.kind)]
        if self.layers_dim is not None:
            layers = " ".join(
                f"-{name}-> {size}"
                for name, size in zip(self.activations or (), self.layers_dim[1:], strict=True)
            )
            lines += [("network", f"{self.layers_dim[0]} {layers}"), ("loss", f"{self.loss}, {self.dtype}")]
        if self.n_members:
            lines.append(("members", f"{self.n_members:,}"))
        lines.append(("parameters", f"{self.n_parameters:,}"))
        if self.classes is not None:
            shown = ", ".join(map(str, self.classes[:10])) + (" ..." if len(self.classes) > 10 else "")
            lines.append(("classes", f"{len(self.classes)}: {shown}"))
        if self.columns:
            kinds = Counter(record["kind"] for record in self.columns)
            counted = ", ".join(pluralize(count, kind) for kind, count in kinds.most_common())
            lines.append(("columns", f"{len(self.columns):,}: {counted}"))
        if self.target is not None:
            lines.append(("target", self.target))
        if self.scores:
            lines.append(("scores", ", ".join(f"{name} {score:.4g}" for name, score in self.scores.items())))
        if not self.columns:  # transformers and tabular estimators have no training to continue with
            state = "no state" if self.n_steps is None else f"{self.n_steps:,} steps"
            if self.n_steps is not None and self.num_passes is not None:
                state += f" of a training of {self.num_passes:,} epochs"
            lines.append(("training", state))
        lines.append(("version", f"fastnn {self.version}"))
        return "\n".join(f"{name:<12}{escape_controls(text)}" for name, text in lines)


def info(path: str | os.PathLike[str]) -> FileInfo:
    """Describe the model in a file.

    Parameters
    ----------
    path : str or path
        Name of a file that a method `save` or a `Checkpoint` has written.

    Returns
    -------
    FileInfo
        Kind, network, number of parameters, training and version; `print` shows them in lines.

    Raises
    ------
    ValueError
        If the file is not a model saved by fastnn, is damaged, or needs another version of fastnn.
    OSError
        If the file does not exist or cannot be read.

    Examples
    --------
    >>> import os, tempfile
    >>> import fastnn
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "model.fastnn")
    ...     fastnn.Model([2, 3, 2]).save(path)
    ...     described = fastnn.info(path)
    >>> described.kind, described.layers_dim, described.n_parameters
    ('Model', (2, 3, 2), 17)
    """
    thing, version = load_with_version(path)
    networks, trainings = thing._get_networks()
    members = getattr(thing, "estimators_", [])
    columns = getattr(thing, "columns_", [])
    # The networks of a tabular estimator have equal layers, so describe the first.
    network = networks[0] if networks and (columns or not members) else None
    training = trainings[0] if trainings else None
    classes = getattr(thing, "classes_", None)
    parameters = thing.get_params(deep=False) if hasattr(thing, "get_params") else {}
    return FileInfo(
        path=str(path),
        n_bytes=Path(path).stat().st_size,
        kind=type(thing).__name__,
        version=version,
        layers_dim=None if network is None else network.layers_dim,
        activations=None if network is None else network.activations,
        dtype=None if network is None else network.dtype.name,
        loss=None if network is None else type(network.loss).__name__,
        n_parameters=sum(one.n_used_parameters for one in networks),
        n_members=len(members),
        classes=None if classes is None else classes.tolist(),
        n_steps=getattr(training, "n_steps", None),
        num_passes=getattr(training, "num_passes", None),
        parameters={name: value for name, value in parameters.items() if value is not None},
        columns=columns,
        target=getattr(thing, "target_name_", None),
        scores={
            name.removeprefix("oof_").rstrip("_"): value
            for name, value in vars(thing).items()
            if name.startswith("oof_") and isinstance(value, float)
        },
    )
