"""Saved models: the methods `save` of models, and `load`."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from ..system.files import check_file_name, check_folder, check_replaceable
from ..system.validation import check_flag
from .container import FAULT, Container, parse_json, write_container
from .records import Reader, Writer

__all__ = [
    "FORMAT",
    "READS",
    "Savable",
    "check_path",
    "collect",
    "load",
    "read_description",
    "write_collected",
]

# Version of the format that fastnn writes, and the oldest version of a reader that understands it. A new
# entry that older readers may ignore raises FORMAT; anything that they would misread raises both.
FORMAT, OLDEST_READER = 1, 1
# Version of fastnn's reader: it understands files that ask for this version or an older one.
READS = 1


class Savable:
    """Base class of the models that can be saved to a file."""

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
            If the folder does not exist, the name is that of a folder, or the model holds a value that a file
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
        writer = Writer(check_flag(training, "training"))
        is_synced = check_flag(sync, "sync")
        write_collected(checked, collect(self, writer), writer, is_synced)

    def __copy__(self) -> Any:
        """Return a shallow copy, which shares the parameters."""
        other = type(self).__new__(type(self))
        other.__dict__.update(self.__dict__)
        return other


def check_path(path: Any) -> Path:
    """Return the path of a file to write; raise ValueError or TypeError if no file can be written there."""
    checked = check_file_name(path, "path")
    if not checked.absolute().parent.is_dir():
        check_folder(checked, "path")  # raises, and names the folder
    check_replaceable(checked, "path", "a model's file")
    return checked


def collect(model: Any, writer: Writer) -> dict[str, str]:
    """Return the metadata that describe a model, and pass its arrays to the writer."""
    from .. import __version__

    description = {"version": FORMAT, "reader": OLDEST_READER, **writer.described(model, "")}
    text = json.dumps(description, separators=(",", ":"), allow_nan=False)
    return {"format": "fastnn", "fastnn.version": __version__, "fastnn": text}


def write_collected(path: Path, metadata: dict[str, str], writer: Writer, synced: bool) -> None:
    """Write the file of a model that `collect` has described; `synced` waits until the disk holds it."""
    write_container(path, metadata, writer.tensors, synced)


def load(path: str | os.PathLike[str]) -> Any:
    """Return the model that a method `save` has written to a file.

    Nothing in the file is executed or imported, whatever the file holds.

    Parameters
    ----------
    path : str or path
        Name of the file.

    Returns
    -------
    object
        Object of the class that was saved: a model, an estimator, an ensemble or a transformer of tables,
        with the same parameters, bit for bit. If the file holds the state of the training, further fits and
        training runs have the same bits as those of the saved object.

    Raises
    ------
    ValueError
        If the file is not a model saved by fastnn, is damaged, or needs a newer version of fastnn; the
        message names the reason.
    OSError
        If the file does not exist or cannot be read.

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
    checked = check_file_name(path, "path")
    with Container(checked) as file:
        description = read_description(file)
        try:
            model = Reader(file).restored(description)
        except RecursionError:
            raise ValueError(f"{checked} holds a description that is nested too deeply") from None
        except (ValueError, TypeError, LookupError, AttributeError, ArithmeticError) as error:
            if str(error).startswith(f"{checked} {FAULT}"):  # a fault that the container has found
                raise
            raise ValueError(f"{checked} holds a description that fits no model: {error}") from error
        file.check()
    return model


def read_description(file: Container) -> dict[str, Any]:
    """Return the description of the model in a file.

    Raises
    ------
    ValueError
        If there is none, or it needs a newer version of fastnn.
    """
    from .. import __version__

    try:
        description = parse_json(file.metadata.get("fastnn", ""))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{file.path}: the description of the model is not JSON: {error}") from None
    if not isinstance(description, dict):
        raise ValueError(f"{file.path}: the description of the model is not a JSON object")
    version, reader = description.get("version"), description.get("reader")
    if not (type(version) is int and type(reader) is int):
        raise ValueError(f"{file.path}: the description of the model has no version")
    if reader > READS:
        written = file.metadata.get("fastnn.version", "a newer version")
        raise ValueError(
            f"{file.path} was saved by fastnn {written} in a format that fastnn {__version__} cannot read: "
            f"install fastnn-numba {written} or newer"
        )
    return description
