"""Saved models: the methods `save` of models, and `load`."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ..losses import Loss
from ..system.files import check_file_name, check_folder, check_replaceable
from ..system.messages import escape_controls, warn
from ..system.validation import check_flag
from .container import Contents, read_container, write_container
from .values import Decoder, Encoder, MissingLossError


class Savable:
    """Base class of the models that can be saved to a file: they have the methods `values.HOMES` asks for."""

    def save(self, path: str | os.PathLike[str], training: bool = True, sync: bool = False) -> None:
        """Save the model to a file, from which `fastnn.load` returns it.

        The file is a safetensors file that holds arrays and their description, no code. It is written whole
        or not at all: a process that is killed leaves the older file or the new one. By convention the name
        ends in ``.fastnn``.

        Parameters
        ----------
        path : str or path
            Name of the file. An older file of this name is replaced.
        training : bool, default True
            Save the state of the training too (the optimizer's state, random generators, curves), with which
            a training resumes, bit for bit. False saves only what predictions need, about a third of the
            bytes after a training by Adam.
        sync : bool, default False
            Wait until the disk holds the file. Without it, a loss of power within the next seconds may lose
            the new file, and on some file systems the older one too. Checkpoints always wait.

        Raises
        ------
        ValueError
            If the folder does not exist, the name belongs to a folder, or the model holds a value that a file
            cannot hold, such as a user's function as a schedule; the message names the value.
        OSError
            If the file cannot be written.

        Examples
        --------
        >>> import os, tempfile
        >>> import fastnn
        >>> model = fastnn.Model([2, 3, 2], random_state=0)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = os.path.join(folder, "model.fastnn")
        ...     model.save(path)
        ...     loaded = fastnn.load(path)
        >>> bool((loaded.W[0] == model.W[0]).all())
        True
        """
        checked = check_path(path)
        contents = encode_model(self, check_flag(training, "training"))
        write_container(checked, contents, check_flag(sync, "sync"))

    @classmethod
    def _from_state(cls, state: dict[str, Any]) -> Any:
        """Return a model of a state that `_get_saved_state` returned; raise an error if it is invalid."""
        model: Any = cls.__new__(cls)
        model.__setstate__(state)
        return model

    def __copy__(self) -> Any:
        other = type(self).__new__(type(self))
        other.__dict__.update(self.__dict__)
        return other


def check_path(path: object) -> Path:
    """Return the path of a file to write; raise ValueError or TypeError if no file can be written there."""
    checked = check_file_name(path, "path")
    if not checked.absolute().parent.is_dir():
        check_folder(checked, "path")  # raises, and names the folder
    check_replaceable(checked, "path", "a model's file")
    return checked


def encode_model(model: Any, training: bool) -> Contents:
    """Return the contents of the file of a model; arrays may share memory with the model."""
    encoder = Encoder(training)
    contents = Contents(encoder.encode(model), encoder.arrays)
    for name in sorted(encoder.left_out):
        warn(f"the file does not hold the code of the loss {name}: pass losses=[{name}] to fastnn.load")
    return contents


def load(path: str | os.PathLike[str], losses: Iterable[type[Loss]] = ()) -> Any:
    """Return the model that a method `save` has written to a file.

    Nothing in the file is executed or imported, whatever the file holds.

    Parameters
    ----------
    path : str or path
        Name of the file.
    losses : iterable of classes, default ()
        Classes of your own losses that the model may have, subclasses of `Loss`: a file holds their names
        and parameters only.

    Returns
    -------
    object
        Object of the class that was saved: a model, an estimator, an ensemble or a transformer of tables,
        with the same parameters, bit for bit. If the file holds the state of the training, further fits and
        training runs give the same bits as they would with the saved object.

    Raises
    ------
    ValueError
        If the file is not a model saved by fastnn, is damaged, needs another version of fastnn, or has a
        loss that `losses` lacks; the message names the reason.
    OSError
        If the file does not exist or cannot be read.
    MemoryError
        If the model does not fit into the free memory.

    Examples
    --------
    >>> import os, tempfile
    >>> import fastnn
    >>> classifier = fastnn.MLPClassifier((4,), solver="lbfgs", random_state=0)
    >>> classifier = classifier.fit([[0.0], [1.0]], ["no", "yes"])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "classifier.fastnn")
    ...     classifier.save(path)
    ...     fastnn.load(path).predict([[-1.0], [2.0]]).tolist()
    ['no', 'yes']
    """
    return load_with_version(path, losses)[0]


def load_with_version(
    path: str | os.PathLike[str], losses: Iterable[type[Loss]] | None = None
) -> tuple[Any, str]:
    """Return the model in a file, and the version of fastnn that wrote it; `losses` are as in `Decoder`."""
    checked = check_file_name(path, "path")
    if not checked.exists():
        raise FileNotFoundError(f"there is no file {checked}")
    if not checked.is_file():  # opening a pipe would wait for a writer
        raise ValueError(f"{checked} is a folder, a device or a pipe, not the file of a model")
    try:
        contents, version = read_container(checked)
        model = Decoder(contents.arrays, losses).decode(contents.description)
    except (OSError, MemoryError, MissingLossError):
        raise
    except RecursionError:
        raise ValueError(f"{checked} is damaged: its description is nested too deeply") from None
    except Exception as error:  # any that a description causes that no encoder returned
        reason = f"it lacks {error}" if isinstance(error, KeyError) else error
        # The reason may repeat what a stranger wrote into the file.
        reason = escape_controls(str(reason))
        raise ValueError(f"{checked} is not a model saved by fastnn, or is damaged: {reason}") from error
    if not isinstance(model, Savable):
        raise ValueError(f"{checked} is not a model saved by fastnn: it holds a {type(model).__name__}")
    return model, version
