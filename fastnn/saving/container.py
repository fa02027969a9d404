"""Container of a saved model: a safetensors file, written and read with NumPy and the standard library.

A safetensors file is a little-endian number of 8 bytes, the length of the header; the header, JSON, which is
padded by spaces; and the arrays without holes. The header maps the name of every array to its dtype, shape
and place, and ``__metadata__`` to a map from text to text. Files of fastnn narrow the format: the data begin
at a multiple of 64 bytes, and the arrays are sorted by the size of an element, so that each is aligned, and
then by their own size.

A reader trusts nothing. No number of a file leads to an allocation before it has been compared with the size
of the file, and every fault is a ValueError that names the file and the reason.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import stat
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..system.files import written_whole

__all__ = ["FAULT", "Container", "Entry", "write_container"]

Array = NDArray[Any]

# NumPy's dtypes by safetensors' names of those that fastnn writes.
DTYPES: dict[str, np.dtype[Any]] = {
    "F64": np.dtype(np.float64),
    "F32": np.dtype(np.float32),
    "I64": np.dtype(np.int64),
    "U32": np.dtype(np.uint32),
}
_NAMES = {dtype: name for name, dtype in DTYPES.items()}
# Largest header that safetensors readers accept, in bytes.
MAX_HEADER = 100_000_000
# Bytes at whose multiples the data begin.
ALIGNMENT = 64
# Estimated bytes of the Python objects of one JSON value. A header is refused if its values would take more
# than FREE_BYTES and more than CHARACTER_BYTES for each of its characters: headers that fastnn writes have
# some 15 characters for each value, but a header of empty lists would take 30 times its length.
VALUE_BYTES, FREE_BYTES, CHARACTER_BYTES = 100, 16_000_000, 12
# Placeholder of the header's digest; the digest is of the header with the placeholder in its place.
NO_DIGEST = "0" * 64
# Placeholder of the data's checksum until the data are written.
NO_CHECKSUM = "1" * 64
# Bytes of a block of the checksum, 512 words of 8 bytes.
BLOCK_BYTES = 1 << 12
# Bytes of an array that are read and summed at a time: the sums find them in the processor's cache.
CHUNK_BYTES = 1 << 20
# Chunks of at least this many bytes are digested by their sums, shorter ones whole.
SUMMED_BYTES = 1 << 14
# Bytes of the buffer of an open file, which larger parts of arrays bypass.
BUFFER_BYTES = 1 << 16
# Prefix of the messages on faults of a file, after its name.
FAULT = "is not a model saved by fastnn, or is damaged"
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
        Dtype in this machine's byte order; the file is little-endian.
    shape : tuple of int
        Shape of the array.
    begin, end : int
        Bytes of the data at which the array begins and ends.
    """

    dtype: np.dtype
    shape: tuple[int, ...]
    begin: int
    end: int


def write_container(
    path: Path, metadata: dict[str, str], tensors: Mapping[str, Array], synced: bool = False
) -> None:
    """Write a file atomically: a process that is killed at any moment leaves the older file or the new one.

    Parameters
    ----------
    path : Path
        Name of the file, whose folder exists.
    metadata : dict of str to str
        Entries of ``__metadata__``. The keys "fastnn.header" and "fastnn.checksum" are added.
    tensors : mapping of str to array
        Arrays of float64, float32, int64 or uint32, not of zero dimensions.
    synced : bool, default False
        Wait until the disk holds the file, for the case of a loss of power.
    """
    arrays = {name: _little(array) for name, array in tensors.items()}
    # Small arrays lie side by side, where one access to the disk reads and writes many of them.
    names = sorted(arrays, key=lambda name: (-arrays[name].dtype.itemsize, -arrays[name].nbytes, name))
    table, place = {}, 0
    for name in names:
        array = arrays[name]
        kind = _NAMES[array.dtype.newbyteorder("=")]
        entry = {"dtype": kind, "shape": list(array.shape), "data_offsets": [place, place + array.nbytes]}
        table[name], place = entry, place + array.nbytes
    # Digests have a fixed length: the place of the data is known before the header's content. The two digests
    # come first: `replace` finds their placeholders before any text in other entries.
    header = _header({"fastnn.header": NO_DIGEST, "fastnn.checksum": NO_CHECKSUM} | metadata, table)
    try:
        with written_whole(path, synced) as draft, open(draft, "xb", BUFFER_BYTES) as file:
            file.seek(len(header))
            checksum = _total(_write_array(file, arrays[name]) for name in names)
            header = header.replace(NO_CHECKSUM.encode(), checksum.encode(), 1)
            digest = hashlib.sha256(header).hexdigest()
            file.seek(0)
            file.write(header.replace(NO_DIGEST.encode(), digest.encode(), 1))
    except OSError as error:  # the user knows the final name, not that of the draft
        raise OSError(error.errno, error.strerror, str(path)) from error


def _header(metadata: dict[str, str], table: Mapping[str, Any]) -> bytes:
    """Return the length of the header and the header, padded so that the data begin at a multiple of 64."""
    text = json.dumps({"__metadata__": metadata, **table}, separators=(",", ":")).encode("ascii")
    text += b" " * (-(8 + len(text)) % ALIGNMENT)
    if len(text) > MAX_HEADER:
        raise ValueError(
            f"the description of the model takes {len(text):,} bytes, but a file holds at most "
            f"{MAX_HEADER:,}: shorten the names of classes and features"
        )
    return len(text).to_bytes(8, "little") + text


def _little(array: Array) -> Array:
    """Return an array in C order and little-endian bytes, the array itself if possible."""
    return np.ascontiguousarray(array, array.dtype.newbyteorder("<"))


def _bytes_of(array: Array) -> Any:
    """Return a view of the bytes of a C-contiguous array, an array of uint8."""
    return array.reshape(-1).view(np.uint8)


# --- the checksum ----------------------------------------------------------------------------------------
#
# SHA-256 of the data would take three times as long as reading them. Instead, the data are divided into
# blocks of 512 words, and SHA-256 covers the sums of their words as integers of 64 bits. A change of one word
# always changes the digest, and any other damage does with near certainty; only an exchange of words within a
# block escapes. As the digest stands in the file itself, it is not a signature.


def _write_array(file: BinaryIO, array: Array) -> bytes:
    """Write a C-contiguous little-endian array, and return its digest."""
    digest = hashlib.sha256()
    data = _bytes_of(array)
    for first in range(0, data.size, CHUNK_BYTES):
        _add(digest, data[first : first + CHUNK_BYTES])
    file.write(data)
    return digest.digest()


def _add(digest: Any, chunk: Array) -> None:
    """Add a chunk to the digest of an array."""
    if chunk.size < SUMMED_BYTES:
        digest.update(chunk)
        return
    end = chunk.size - chunk.size % BLOCK_BYTES
    words = chunk[:end].view("<u8").reshape(-1, BLOCK_BYTES // 8)
    digest.update(words.sum(axis=1, dtype=np.uint64).astype("<u8", copy=False))
    digest.update(chunk[end:])


def _total(digests: Iterable[bytes]) -> str:
    """Return the checksum of the digests of all arrays, in the order of the file."""
    return hashlib.sha256(b"".join(digests)).hexdigest()


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
        self._digests: dict[str, bytes] = {}  # of the arrays that have been read
        try:
            mode = os.stat(path).st_mode
        except (FileNotFoundError, NotADirectoryError):
            raise FileNotFoundError(f"there is no file {path}") from None
        if not stat.S_ISREG(mode):  # opening a pipe would wait for a writer
            raise ValueError(f"{path} is a folder, a device or a pipe, not the file of a model")
        self._file: BinaryIO = open(path, "rb", BUFFER_BYTES)  # noqa: SIM115 (closed by __exit__)
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
        return ValueError(f"{self.path} {FAULT}: {reason}")

    def _read_header(self) -> tuple[dict[str, str], dict[str, Entry]]:
        """Read and check the header."""
        start = self._read_bytes(min(8, self.size))
        length = int.from_bytes(start, "little")
        for beginning, what in FOREIGN.items():
            # A header's length may begin with the same bytes: a length that fits is not of a foreign file.
            if start.startswith(beginning) and not 2 <= length <= self.size - 8:
                raise self._fault(f"it seems to be {what}")
        if self.size < 8:
            raise self._fault(f"it has {self.size} bytes, fewer than the 8 of its header's length")
        if length > MAX_HEADER:
            if all(sign < 128 and (chr(sign).isprintable() or chr(sign).isspace()) for sign in start):
                raise self._fault("it seems to be a text file")
            raise self._fault(f"its header has {length:,} bytes by its first 8, more than {MAX_HEADER:,}")
        if length > self.size - 8:
            raise self._fault(
                f"its header has {length:,} bytes by its first 8, but {self.size - 8:,} follow: it is cut off"
            )
        text = self._read_bytes(length)
        characters = np.frombuffer(text, np.uint8)
        n_values = sum(
            int(np.count_nonzero(characters[first : first + CHUNK_BYTES] == sign))
            for first in range(0, length, CHUNK_BYTES)
            for sign in b"[{,"
        )
        if VALUE_BYTES * n_values > max(FREE_BYTES, CHARACTER_BYTES * length):
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
        self._stated = {key: metadata.pop(key, "") for key in ("fastnn.header", "fastnn.checksum")}
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
            fits = set(map(type, numbers)) == {int} and min(numbers) >= 0 and max(numbers) <= self.size
            if not fits or len(offsets) != 2:
                raise self._fault(
                    f"shape and data_offsets of {name!r} must be lists of integers from 0 to the file's size"
                )
            if not 1 <= len(shape) <= 2:
                raise self._fault(f"the array {name!r} has {len(shape)} dimensions")
            n_bytes = dtype.itemsize * math.prod(shape)
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
            raise self._fault(f"its arrays take {place:,} bytes, but {has:,} follow the header: {cut}")
        return table

    def _read_bytes(self, count: int) -> bytes:
        """Return the next bytes of the file."""
        data = self._file.read(count)
        if len(data) < count:
            raise self._ended()
        return data

    def _fill(self, buffer: Array) -> None:
        if self._file.readinto(buffer) < buffer.size:  # type: ignore[attr-defined]
            raise self._ended()

    def _ended(self) -> ValueError:
        return self._fault("it ended while it was read")

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
        return array

    def read_into(self, name: str, target: Array) -> None:
        """Read an array into `target`, which must have its shape and dtype.

        Raises
        ------
        ValueError
            If the file lacks the array, or its shape or dtype differs.
        """
        entry = self.entry(name)
        if entry.shape != target.shape or entry.dtype != target.dtype:
            raise self._fault(
                f"the array {name!r} is {entry.dtype.name} of the shape {entry.shape}, not "
                f"{target.dtype.name} of the shape {target.shape}"
            )
        if target.flags.c_contiguous:
            self._read_into(name, target)
        else:
            target[...] = self.read(name)

    def _read_into(self, name: str, array: Array) -> None:
        """Fill a C-contiguous array in this machine's byte order."""
        self._digests[name] = self._digest_of(self.table[name], _bytes_of(array))
        if sys.byteorder == "big":
            array.byteswap(inplace=True)

    def _digest_of(self, entry: Entry, target: Any = None) -> bytes:
        """Read an array into `target`, by default into a buffer of one chunk, and return its digest."""
        self._file.seek(self._data + entry.begin)
        n_bytes = entry.end - entry.begin
        if target is not None and n_bytes < SUMMED_BYTES:
            self._fill(target)
            return hashlib.sha256(target).digest()
        digest = hashlib.sha256()
        buffer = np.empty(min(n_bytes, CHUNK_BYTES), np.uint8) if target is None else target
        for first in range(0, n_bytes, CHUNK_BYTES):
            n = min(CHUNK_BYTES, n_bytes - first)
            chunk = buffer[:n] if target is None else buffer[first : first + n]
            self._fill(chunk)
            _add(digest, chunk)
        return digest.digest()

    def check(self) -> None:
        """Raise ValueError if the data have been changed; read the arrays that have not been read."""
        for name in self.table.keys() - self._digests.keys():
            self._digests[name] = self._digest_of(self.table[name])
        if _total(map(self._digests.__getitem__, self.table)) != self._stated["fastnn.checksum"]:
            raise self._fault("its data have been changed")


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
