"""Random changes of saved models, for the tests of files."""

import contextlib
import copy
import hashlib
import json
import os

import numpy as np

import fastnn
from fastnn.saving.container import ALIGNMENT, NO_DIGEST, Container, write_container

# Number of mutated files; more by hand: FASTNN_MUTATIONS=20000.
N_MUTATIONS = int(os.environ.get("FASTNN_MUTATIONS", "400"))


def mutate(changed, header_length, random):
    """Change some bytes, most often in the header."""
    end = len(changed) if random.rand() < 0.3 else min(8 + header_length, len(changed))
    place, kind = random.randint(0, end), random.randint(0, 5)
    if kind == 0:
        changed[place] = random.randint(0, 256)
    elif kind == 1:
        changed[place] ^= 1 << random.randint(0, 8)
    elif kind == 2:
        del changed[place : place + random.randint(1, 9)]
    elif kind == 3:
        changed[place:place] = bytes(random.randint(32, 127, random.randint(1, 9)).astype(np.uint8))
    else:
        other = random.randint(0, end)
        changed[place : place + 4] = changed[other : other + 4]


def repaired_digests(changed):
    """Return the content with the right length and digest of its header, if the header can still be found."""
    end = changed.find(b"}}")
    stop = changed.rfind(b"}", 0, max(end + 2, 8)) + 1
    text = changed[8:stop]
    place = text.find(b'"fastnn.header":"')
    if place < 0:
        return changed
    place += len(b'"fastnn.header":"')
    text = text[:place] + NO_DIGEST.encode() + text[place + 64 :]
    text += b" " * (-(8 + len(text)) % ALIGNMENT)
    start = len(text).to_bytes(8, "little") + text
    digest = hashlib.sha256(start).hexdigest().encode()
    return start.replace(NO_DIGEST.encode(), digest, 1) + changed[stop:].lstrip(b" ")


def loaded_mutations(saved, repaired, seed):
    """Yield what is loaded from randomly changed copies of a file; `info` and `load` raise only ValueError.

    `repaired` gives the copies digests that hold; without them, no copy can be loaded.
    """
    content, path = saved.read_bytes(), saved.with_name("changed.fastnn")
    header_length, random = int.from_bytes(content[:8], "little"), np.random.RandomState(seed)
    for _ in range(max(1, N_MUTATIONS // 6)):
        changed = bytearray(content)
        for _ in range(random.randint(1, 4)):
            mutate(changed, header_length, random)
        if changed == content:
            continue
        path.write_bytes(repaired_digests(bytes(changed)) if repaired else bytes(changed))
        with contextlib.suppress(ValueError):
            str(fastnn.info(path))
        try:
            loaded = fastnn.load(path)
        except ValueError:
            continue
        assert repaired, "a changed file was loaded"
        yield loaded


# --- structural mutations: values, not bytes ------------------------------------------------------------

# Values that replace a value of a description.
STRANGE = [
    None, True, False, -1, 0, 1, 2, 624, 2**31 - 1, 2**31, -(2**31), 2**53, -(10**9), 10**30, 0.5, -1.5, -0.0,
    1e308, 5e-324, "", "a", "0", "x" * 5000, [], {}, [[]], [None], [0, 0], [-1], [1e308, 0.5],
    *({"$int": str(number)} for number in (2**63 - 1, 2**64, -(2**63), 10**400)),
    *({"$float": text} for text in ("nan", "inf", "-inf")), {"$tuple": []}, {"$dict": []},
    *({"$new": name, "with": {}} for name in ("Adam", "Constant", "Huber")),
    {"$saved": {"kind": "MLPClassifier", "parameters": {}, "fitted": {}, "members": {}}},
    {"$array": {"dtype": "float64", "shape": [0], "values": []}},
    {"$array": {"dtype": "float64", "shape": [2], "values": [{"$float": "nan"}, 1.0]}},
    {"$array": {"dtype": "int64", "shape": [2], "values": [0, -1]}},
    {"$array": {"dtype": "text", "shape": [2], "values": ["b", "a"]}},
    {"$array": {"dtype": "object", "shape": [3], "values": ["b", 1, True]}},
]  # fmt: skip
# Numbers that replace numbers of an array.
STRANGE_NUMBERS = {
    "f": [np.nan, np.inf, -np.inf, 0.0, -0.0, -1.0, 1.0, 0.5, 1e-320, 1e300, -1e300],
    "i": [-1, 0, 1, 2**31, 2**62, -(2**63), 2**63 - 1],
    "u": [0, 1, 623, 624, 625, 2**31, 2**32 - 1],
}


def parts_of(path):
    """Return the metadata, the description and the arrays of a file."""
    with Container(path) as file:
        arrays = {name: file.read(name) for name in file.table}
        return file.metadata, json.loads(file.metadata["fastnn"]), arrays


def write_parts(path, metadata, description, arrays):
    """Write a file with right digests whose description and arrays need not fit each other."""
    write_container(path, metadata | {"fastnn": json.dumps(description)}, arrays)


def mutate_parts(description, arrays, random):
    """Change one value of a description, or one array; return what has been changed, as text."""
    if not arrays or random.rand() < 0.6:
        return mutate_description(description, random)
    return mutate_array(arrays, random)


def chosen(items, random):
    """Return one item of a list."""
    return items[random.randint(len(items))]


def mutate_description(description, random):
    """Change, remove, exchange or add a value of a description; short paths are as probable as long ones."""
    part, key, path = description, None, []
    places = [(part, key)]
    while isinstance(part, dict | list) and part and (len(path) < 1 or random.rand() < 0.8):
        key = chosen(list(part) if isinstance(part, dict) else range(len(part)), random)
        places.append((part, key))
        path.append(key)
        part = part[key]
    (parent, key), value = places[-1], part
    kind = random.randint(8)
    if kind == 0:
        del parent[key]
        change = "removed"
    elif kind == 1 and isinstance(parent, list):
        parent.insert(key, copy.deepcopy(value))
        change = "doubled"
    elif kind == 2 and isinstance(value, list) and len(value) > 1:
        random.shuffle(value)
        change = "shuffled"
    elif kind == 3:
        other = chosen(list(parent) if isinstance(parent, dict) else range(len(parent)), random)
        parent[key], parent[other] = parent[other], value
        change = f"exchanged with {other!r}"
    elif kind in (4, 5) and type(value) in (int, float):
        parent[key] = chosen(
            [value + 1, value - 1, -value, 2 * value, value * 10**6, float(value), str(value)], random
        )
        change = repr(parent[key])
    else:
        parent[key] = copy.deepcopy(chosen(STRANGE, random))
        change = repr(parent[key])[:80]
    return f"{'/'.join(map(str, path))}: {change}"


def mutate_array(arrays, random):
    """Change some numbers of an array, its shape or dtype, or exchange it with another."""
    name = chosen(sorted(arrays), random)
    array = arrays[name] = arrays[name].copy()
    kind = random.randint(9)
    if kind == 0:
        del arrays[name]
        return f"{name}: removed"
    if kind == 1:
        arrays[name] = array[:-1] if random.rand() < 0.5 else np.concatenate([array, array[:1]])
    elif kind == 2:
        arrays[name] = chosen([array[:0], array.ravel(), array[None] if array.ndim == 1 else array.T], random)
    elif kind == 3:
        arrays[name] = array.astype(chosen([np.float64, np.float32, np.int64, np.uint32], random))
    elif kind == 4:
        alike = sorted(
            other
            for other, value in arrays.items()
            if (value.dtype, value.shape) == (array.dtype, array.shape)
        )
        other = chosen(alike, random)
        arrays[name], arrays[other] = arrays[other], array
        return f"{name}: exchanged with {other}"
    elif array.size:
        places = slice(None) if kind == 5 else random.randint(array.size, size=random.randint(1, 3))
        number = chosen([*STRANGE_NUMBERS[array.dtype.kind], array.size, array.size - 1], random)
        with np.errstate(all="ignore"):
            array.reshape(-1)[places] = number
        return f"{name}: {number} at {places}"
    return f"{name}: {arrays[name].dtype} of {arrays[name].shape}"
