"""Container of a saved model: a safetensors file, written and read with NumPy and the standard library.

A safetensors file is a little-endian number of 8 bytes, the length of the header; the header, JSON, which is
padded by spaces; and the arrays without holes. The header maps the name of every array to its dtype, shape
and place, and ``__metadata__`` to a map from text to text. Files of fastnn narrow the format: the data begin
at a multiple of 64 bytes and are sorted by the size of an element, so that every array is aligned.

A reader trusts nothing. No number of a file leads to an allocation before it has been compared with the size
of the file, and every fault is a ValueError that names the file and the reason.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import stat
import threading
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..system.files import written_whole

__all__ = ["Container", "Entry", "write_container"]

Array = NDArray[Any]

# NumPy's dtypes by safetensors' names of those that fastnn writes.
DTYPES: dict[str, np.dtype[Any]] = {
    "F64": np.dtype("<f8"),
    "F32": np.dtype("<f4"),
    "I64": np.dtype("<i8"),
    "U32": np.dtype("<u4"),
}
_NAMES = {dtype.newbyteorder("="): name for name, dtype in DTYPES.items()}
# Largest header that safetensors readers accept, in bytes.
MOST_HEADER = 100_000_000
# Bytes at whose multiples the data begin.
ALIGNMENT = 64
# Estimated bytes of Python objects for one JSON value, and bytes that a header may take whatever the file's
# size.
VALUE_BYTES, FREE_BYTES = 100, 16_000_000
# Bytes of data from which on a second thread computes the SHA-256 digest while the first writes.
THREADED_BYTES = 1 << 18
# Stands for a digest where it is not known yet. A digest of the header covers the header with this in its
# place.
NO_DIGEST = "0" * 64
# Words of 8 bytes that one sum of the checksum covers, and bytes of arrays that are digested without sums.
BLOCK, SUMMED_BYTES = 512, 1 << 14
# First bytes of other files, with what they are and what reads them.
FOREIGN = {
    b"PK\x03\x04": "a ZIP archive, as NumPy, Keras, torch and skops write them: load it with its own library",
    b"\x80": "a pickle: load it with pickle or joblib, if you trust it",
    b"x\x9c": "a compressed file, as joblib writes them: load it with joblib, if you trust it",
    b"\x1f\x8b": "a gzip archive",
    b"\x89HDF": "an HDF5 file",
    b"\x93NUMPY": "a NumPy array: load it with numpy.load",
    b"{": "a text file, perhaps JSON",
}


class Entry(NamedTuple):
    """Place of one array in the file.

    Parameters
    ----------
    dtype : numpy.dtype
        Little-endian dtype.
    shape : tuple of int
        Shape of the array.
    begin, end : int
        Bytes of the data at which the array begins and ends.
    """

    dtype: np.dtype
    shape: tuple[int, ...]
    begin: int
    end: int


def write_container(path: Path, metadata: dict[str, str], tensors: Mapping[str, Array]) -> None:
    """Write a file atomically: a process that is killed at any moment leaves the older file or the new one.

    Parameters
    ----------
    path : Path
        Name of the file, whose folder exists.
    metadata : dict of str to str
        Entries of ``__metadata__``. The keys "sha256" (digest of the data), "fastnn.header" and
        "fastnn.checksum" are added.
    tensors : mapping of str to array
        Arrays of float64, float32, int64 or uint32, not of zero dimensions.
    """
    arrays = {name: _little(array) for name, array in tensors.items()}
    names = sorted(arrays, key=lambda name: (-arrays[name].dtype.itemsize, name))
    table, place = {}, 0
    for name in names:
        array = arrays[name]
        kind = _NAMES[array.dtype.newbyteorder("=")]
        entry = {"dtype": kind, "shape": list(array.shape), "data_offsets": [place, place + array.nbytes]}
        table[name], place = entry, place + array.nbytes
    digests = {
        "sha256": NO_DIGEST,
        "fastnn.checksum": _Checksum(arrays).total(names),
        "fastnn.header": NO_DIGEST,
    }
    # The data are written, and their SHA-256 digest is computed, at the same time. A digest has a fixed
    # length: the header's place is known before its content.
    start = len(_header(metadata | digests, table))
    with written_whole(path, synced=True) as draft, open(draft, "wb", buffering=0) as file:
        file.seek(start)
        digests["sha256"] = _write_and_digest(file, [arrays[name] for name in names], place)
        digests["fastnn.header"] = hashlib.sha256(_header(metadata | digests, table)).hexdigest()
        file.seek(0)
        _write(file, _header(metadata | digests, table))


def _header(metadata: dict[str, str], table: Mapping[str, Any]) -> bytes:
    """Return the length of the header and the header, padded so that the data begin at a multiple of 64."""
    text = json.dumps({"__metadata__": metadata, **table}, separators=(",", ":")).encode("ascii")
    text += b" " * (-(8 + len(text)) % ALIGNMENT)
    if len(text) > MOST_HEADER:
        raise ValueError(
            f"the description of the model takes {len(text):,} bytes, and a file holds {MOST_HEADER:,} at "
            "most: shorten the names of classes and features"
        )
    return len(text).to_bytes(8, "little") + text


def _little(array: Array) -> Array:
    """Return an array in C order and little-endian bytes, the array itself if possible."""
    return np.ascontiguousarray(array, array.dtype.newbyteorder("<"))


def _write(file: Any, data: Any) -> None:
    """Write all bytes to an unbuffered file, which may write fewer in one call."""
    view = memoryview(data)
    while view:
        view = view[file.write(view) :]


def _bytes_of(array: Array) -> Any:
    """Return the bytes of a C-contiguous array as a memory view."""
    data: Any = array.reshape(-1).view(np.uint8)
    return memoryview(data)


def _write_and_digest(file: BinaryIO, arrays: list[Array], n_bytes: int) -> str:
    """Write arrays one after another, and return the SHA-256 digest of their bytes."""
    digest = hashlib.sha256()

    def compute() -> None:
        for array in arrays:
            digest.update(_bytes_of(array))

    thread = None
    if n_bytes > THREADED_BYTES:
        thread = threading.Thread(target=compute)
        try:
            thread.start()
        except RuntimeError:  # no more threads are available, or the interpreter is exiting
            thread = None
    try:
        if thread is None:
            compute()
        for array in arrays:
            _write(file, _bytes_of(array))
        if (
            thread is not None
        ):  # the disk works while the digest is computed: the last fsync finds little to do
            with contextlib.suppress(OSError):  # some network disks support no fsync
                os.fsync(file.fileno())
    finally:
        if thread is not None:
            thread.join()
    return digest.hexdigest()


class _Checksum:
    """Checksum of arrays that are read in any order: the digest of the sums of their blocks.

    SHA-256 of the data takes three times as long as reading them. Sums of blocks of 4 KiB as integers of 64
    bits detect every change of one word, and others as surely as 64 bits can.

    Parameters
    ----------
    arrays : mapping of str to array
        C-contiguous little-endian arrays to add.
    """

    def __init__(self, arrays: Mapping[str, Array] | None = None) -> None:
        self._digests: dict[str, bytes] = {}
        for name, array in (arrays or {}).items():
            self.add(name, array)

    def __contains__(self, name: str) -> bool:
        """Return True if the array with this name has been added."""
        return name in self._digests

    def add(self, name: str, array: Array) -> None:
        """Add the content of one array."""
        data: Any = array.reshape(-1).view(np.uint8)
        if data.size < SUMMED_BYTES:
            self._digests[name] = hashlib.sha256(data).digest()
            return
        n_words = data.size // 8
        words = data[: 8 * n_words].view("<u8")
        n_blocks = n_words // BLOCK
        sums = words[: n_blocks * BLOCK].reshape(n_blocks, BLOCK).sum(axis=1, dtype=np.uint64).astype("<u8")
        digest = hashlib.sha256(sums.tobytes())
        digest.update(data[8 * n_blocks * BLOCK :].tobytes())
        self._digests[name] = digest.digest()

    def total(self, names: Iterable[str]) -> str:
        """Return the checksum of the arrays `names`, in the order of the file."""
        return hashlib.sha256(b"".join(self._digests[name] for name in names)).hexdigest()


class Container:
    """Open file of a saved model; use it as a context manager.

    Opening reads and checks the header alone.

    Parameters
    ----------
    path : Path
        Name of the file.

    Attributes
    ----------
    metadata : dict of str to str
        Entries of ``__metadata__``.
    table : dict of str to Entry
        Places of the arrays, in the order of the file.
    size : int
        Size of the file in bytes.

    Raises
    ------
    OSError
        If the file cannot be opened.
    ValueError
        If the file is not a safetensors file of fastnn, or is damaged.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._checksum = _Checksum()
        if not stat.S_ISREG(os.stat(path).st_mode):  # opening a pipe would wait for a writer
            raise ValueError(f"{path} is a folder, a device or a pipe, not the file of a model")
        self._file: BinaryIO = open(path, "rb", buffering=0)  # noqa: SIM115 (closed by __exit__)
        try:
            self.size = os.fstat(self._file.fileno()).st_size
            self.metadata, self.table = self._read_header()
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> Container:
        return self

    def __exit__(self, *exception: object) -> None:
        self._file.close()

    def _fault(self, reason: str) -> ValueError:
        """Return the error for a file that is not one of fastnn's, or is damaged."""
        return ValueError(f"{self.path} is not a model saved by fastnn, or is damaged: {reason}")

    def _read_header(self) -> tuple[dict[str, str], dict[str, Entry]]:
        """Read and check the header."""
        start = self._read_bytes(min(8, self.size))
        for beginning, what in FOREIGN.items():
            # The first bytes of a header's length may be any: a length that fits is not of a foreign file.
            length = int.from_bytes(start, "little")
            if start.startswith(beginning) and not 2 <= length <= self.size - 8:
                raise self._fault(f"it seems to be {what}")
        if self.size < 8:
            raise self._fault(f"it has {self.size} bytes, and the length of the header alone takes 8")
        length = int.from_bytes(start, "little")
        if length > MOST_HEADER:
            raise self._fault(f"its header has {length:,} bytes by its first 8, more than {MOST_HEADER:,}")
        if length > self.size - 8:
            raise self._fault(
                f"its header has {length:,} bytes by its first 8, but {self.size - 8:,} follow: it is cut off"
            )
        text = self._read_bytes(length)
        n_values = sum(text.count(sign) for sign in b"[{,")
        if VALUE_BYTES * n_values + 4 * length > max(2 * self.size, FREE_BYTES):
            raise self._fault(
                f"its header holds {n_values:,} values, too many for a file of {self.size:,} bytes"
            )
        header = self._parse(text)
        self._data = 8 + length
        metadata = header.pop("__metadata__", None)
        if not (isinstance(metadata, dict) and all(type(value) is str for value in metadata.values())):
            raise self._fault("its header has no __metadata__ that maps text to text")
        if metadata.get("format") != "fastnn":
            raise self._fault("it is a safetensors file of another program: its metadata lack format=fastnn")
        table = self._check_table(header)
        self._stated = {key: metadata.pop(key, "") for key in ("sha256", "fastnn.header", "fastnn.checksum")}
        stated = self._stated["fastnn.header"]
        whole = start + text.replace(stated.encode(), NO_DIGEST.encode(), 1)
        if len(stated) != len(NO_DIGEST) or hashlib.sha256(whole).hexdigest() != stated:
            raise self._fault("its header has been changed")
        return metadata, table

    def _parse(self, text: bytes) -> dict[str, Any]:
        """Return the header's JSON object."""
        try:
            header = parse_json(text)
        except (ValueError, RecursionError) as error:
            raise self._fault(f"its header is not JSON ({str(error) or type(error).__name__})") from None
        if not isinstance(header, dict):
            raise self._fault("its header is not a JSON object")
        return header

    def _check_table(self, header: dict[str, Any]) -> dict[str, Entry]:
        """Return the places of the arrays, which fill the rest of the file without holes."""
        table: dict[str, Entry] = {}
        place = 0
        for name, given in header.items():
            if not (isinstance(given, dict) and set(given) == {"dtype", "shape", "data_offsets"}):
                raise self._fault(f"the array {name!r} needs dtype, shape and data_offsets")
            kind = given["dtype"]
            dtype: Any = DTYPES.get(kind) if isinstance(kind, str) else None
            if dtype is None:
                raise self._fault(f"the array {name!r} has a dtype other than {', '.join(DTYPES)}")
            shape, offsets = given["shape"], given["data_offsets"]
            numbers = [*shape, *offsets] if isinstance(shape, list) and isinstance(offsets, list) else [-1]
            fits = all(type(number) is int and 0 <= number <= self.size for number in numbers)
            if not fits or len(offsets) != 2:
                raise self._fault(
                    f"shape and data_offsets of {name!r} must be lists of integers from 0 to the file's size"
                )
            if not 1 <= len(shape) <= 2:
                raise self._fault(f"the array {name!r} has {len(shape)} dimensions")
            n_bytes = dtype.itemsize
            for number in shape:
                n_bytes *= number
            if offsets != [place, place + n_bytes]:
                raise self._fault(
                    f"the array {name!r} of {n_bytes:,} bytes must take the bytes {place:,} to "
                    f"{place + n_bytes:,} of the data, but data_offsets is {offsets}"
                )
            table[name] = Entry(dtype, tuple(shape), *offsets)
            place += n_bytes
        if place != self.size - self._data:
            has = self.size - self._data
            cut = "it is cut off" if has < place else "something follows the data"
            raise self._fault(f"its arrays take {place:,} bytes, and {has:,} follow the header: {cut}")
        return table

    def _read_bytes(self, count: int) -> bytes:
        """Return the next bytes of the file."""
        buffer = bytearray(count)
        self._fill(memoryview(buffer))
        return bytes(buffer)

    def _fill(self, view: memoryview) -> None:
        """Fill a buffer from the file."""
        while view:
            count = self._file.readinto(view)  # type: ignore[attr-defined]
            if not count:
                raise self._fault("it ended while it was read")
            view = view[count:]

    # --- arrays ----------------------------------------------------------------------------------------

    def entry(self, name: str) -> Entry:
        """Return the place of an array; raise ValueError if the file lacks the array."""
        if name not in self.table:
            raise self._fault(f"it lacks the array {name!r}")
        return self.table[name]

    def read(self, name: str) -> Array:
        """Return an array in the machine's byte order."""
        entry = self.entry(name)
        array = np.empty(entry.shape, entry.dtype)
        self._read_into(name, array)
        return array.astype(entry.dtype.newbyteorder("="), copy=False)

    def read_into(self, name: str, target: Array) -> None:
        """Read an array into `target`, which must have its shape and dtype.

        Raises
        ------
        ValueError
            If the file lacks the array, or its shape or dtype differs.
        """
        entry = self.entry(name)
        if entry.shape != target.shape or entry.dtype.newbyteorder("=") != target.dtype:
            raise self._fault(
                f"the array {name!r} is {entry.dtype.name} of the shape {entry.shape}, not "
                f"{target.dtype.name} of the shape {target.shape}"
            )
        if target.flags.c_contiguous and target.dtype == entry.dtype:
            self._read_into(name, target)
        else:
            target[...] = self.read(name)

    def _read_into(self, name: str, array: Array) -> None:
        """Fill a C-contiguous array of the file's byte order."""
        self._file.seek(self._data + self.table[name].begin)
        self._fill(_bytes_of(array))
        self._checksum.add(name, array)

    def check(self) -> None:
        """Raise ValueError if the data have been changed; read the arrays that have not been read."""
        for name in self.table:
            if name not in self._checksum:
                self.read(name)
        if self._checksum.total(self.table) != self._stated["fastnn.checksum"]:
            raise self._fault("its data have been changed")

    def check_sha256(self) -> None:
        """Raise ValueError if the data's SHA-256 digest is not the stated one."""
        self._file.seek(self._data)
        digest = hashlib.sha256()
        while block := self._file.read(1 << 20):
            digest.update(block)
        if digest.hexdigest() != self._stated["sha256"]:
            raise self._fault("the SHA-256 digest of its data is not the stated one")


def parse_json(text: bytes | str) -> Any:
    """Return the value of a JSON text that has neither duplicate keys nor NaN and infinity.

    Raises
    ------
    ValueError
        If the text is anything else.
    """
    return json.loads(text, object_pairs_hook=_unique, parse_constant=_refuse_constant)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return a JSON object as a dict; raise ValueError for a duplicate key."""
    result: dict[str, Any] = {}
    for name, value in pairs:
        if name in result:
            raise ValueError(f"the key {name!r} occurs twice")
        result[name] = value
    return result


def _refuse_constant(constant: str) -> Any:
    """Raise ValueError for NaN and infinity, which JSON does not have."""
    raise ValueError(f"{constant} is not a JSON number")
