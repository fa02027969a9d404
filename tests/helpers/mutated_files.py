"""Program that changes values of saved models, loads the files, and uses what can still be loaded.

``python mutated_files.py FOLDER COUNT SEED NAME...`` changes the file of each object `COUNT` times. Loading
may raise only a ValueError that names the file. What was loaded may raise any error, but the process must
not crash or hang. The file ``FOLDER/log`` ends with the last change that was tried.
"""

import contextlib
import copy
import faulthandler
import os
import pickle
import resource
import sys
import traceback
import warnings
import zlib
from pathlib import Path

import numpy as np
import saved_models

import fastnn
from fastnn.saving.container import Contents, read_container, write_container

# Seconds that the use of one file may take, which includes compilation, and bytes that it may allocate.
PATIENCE = 300
MEMORY = 2 << 30
# Parameters that say how much a fit does, whose values are a user's affair.
AMOUNTS = ("max_iter", "n_estimators", "hidden_layer_sizes", "max_fun", "estimator", "time_limit", "verbose")
# Values that replace a value of a description.
INTEGERS = [-1, 0, 1, 2, 624, 2**31, -(2**31), 2**53, 2**63 - 1, 2**64, 10**30, 10**400]
LISTS = [[], {}, [[]], [None], [0, 0], [-1], [1e308, 0.5]]
OBJECTS = [{"$float": text} for text in ("nan", "inf", "-inf")]
OBJECTS += [{"$class": name} for name in ("Adam", "Constant", "Huber")]
OBJECTS += [{"$tuple": []}, {"$dict": []}, {"$objects": ["b"]}, {"$random": 0}]
OBJECTS += [{"$class": "Network", "layers_dim": [1, 1], "activation": [], "dtype": "float64"}]
TEXTS = ["", "a", "0", "x" * 5000]
STRANGE = [None, True, False, *INTEGERS, 0.5, -0.0, 1e308, 5e-324, *TEXTS, *LISTS, *OBJECTS]
# Numbers that replace numbers of an array.
STRANGE_NUMBERS = {
    "f": [np.nan, np.inf, -np.inf, 0.0, -0.0, -1.0, 1.0, 0.5, 1e-320, 1e300, -1e300],
    "i": [-1, 0, 1, 2**31, 2**62, -(2**63), 2**63 - 1],
    "u": [0, 1, 623, 624, 625, 2**31, 2**32 - 1],
}


def find_places(part):
    """Yield the container and the key of every value of a description."""
    keys = list(part) if isinstance(part, dict) else range(len(part)) if isinstance(part, list) else ()
    for key in keys:
        yield part, key
        yield from find_places(part[key])


def mutate_description(description, random):
    """Change, remove, repeat or exchange a value of a description; return what has been changed, as text."""
    places = list(find_places(description))
    (parent, key), (other, place) = (choose(places, random) for _ in range(2))
    value, kind = parent[key], random.randint(8)
    if kind == 0:
        del parent[key]
    elif kind == 1 and isinstance(parent, list):
        parent.insert(key, copy.deepcopy(value))
    elif kind == 2 and isinstance(value, list):
        random.shuffle(value)
    elif kind == 3:
        parent[key] = copy.deepcopy(other[place])
    elif kind in (4, 5) and type(value) in (int, float):
        numbers = [value + 1, value - 1, -value, 2 * value, value * 10**6, float(value), str(value)]
        parent[key] = choose(numbers, random)
    else:
        parent[key] = copy.deepcopy(choose(STRANGE, random))
    return f"{key}: {kind} of {str(value)[:80]}"


def mutate_array(arrays, random):
    """Change some numbers of an array, its shape or dtype, or replace it by another; return what was done."""
    name, other = (choose(sorted(arrays), random) for _ in range(2))
    array, kind = arrays[name].copy(), random.randint(9)
    if kind == 0:
        array = arrays[other]
    elif kind == 1:
        array = choose([array[:-1], np.concatenate([array, array[:1]]), array[:0]], random)
    elif kind == 2:
        array = choose([array.ravel(), array[None], array.T.copy()], random)
    elif kind == 3:
        array = array.astype(choose([np.float64, np.float32, np.int64, np.uint32], random))
    elif array.size and array.dtype.kind in STRANGE_NUMBERS:
        places = slice(None) if kind == 4 else random.randint(array.size, size=random.randint(1, 3))
        number = choose([*STRANGE_NUMBERS[array.dtype.kind], array.size, array.size - 1], random)
        with np.errstate(all="ignore"):
            array.reshape(-1)[places] = np.array(number).astype(array.dtype)
    arrays[name] = array
    return f"{name}: {kind}, {array.dtype} of {array.shape}"


def choose(items, random):
    """Return one item of a list."""
    return items[random.randint(len(items))]


def use(thing, original, name):
    """Yield functions that use what a changed file of `original` holds; each may raise any error."""
    samples = saved_models.make_samples(original)
    for method in ("predict", "predict_proba", "decision_function", "transform"):
        yield lambda method=method: getattr(thing, method)(samples)
    yield lambda: thing.predictor(3)(saved_models.X[:3])
    yield lambda: thing.summary()
    yield lambda: (thing.save("copy.fastnn"), str(fastnn.info("copy.fastnn")))
    yield lambda: repr(pickle.loads(pickle.dumps(copy.deepcopy(thing))))
    restore_amounts(thing, original)
    if hasattr(original, "arguments"):
        targets, options = original.arguments
        options = options | {"num_passes": options["num_passes"] + 2}
        yield lambda: copy.deepcopy(thing).train(saved_models.X, targets, resume=True, **options)
    yield lambda: fit_in_parts(copy.deepcopy(thing), original)
    yield lambda: saved_models.fit_more(thing, name)


def fit_in_parts(estimator, original):
    """Fit in parts of a few rows, most of which `OnlineSteps` does."""
    targets = original.predict(saved_models.X)
    for k in range(5):
        estimator.partial_fit(saved_models.X[k : k + 3], targets[k : k + 3])


def restore_amounts(thing, original):
    """Set the parameters that say how much a fit does to those of the object that was saved."""
    for name in AMOUNTS:
        if hasattr(original, name):
            setattr(thing, name, getattr(original, name))


def run(name, count, seed, log):
    """Change the file of an object `count` times, and use what can still be loaded.

    Returns the failures as texts, and the number of the files that were loaded.
    """
    original = saved_models.make(name)
    original.save("original.fastnn")
    contents, _ = read_container(Path("original.fastnn"))
    random = np.random.RandomState([seed, zlib.crc32(name.encode())])
    failures, n_loaded = [], 0
    load_and_use("original.fastnn", original, name)  # compiles what the object needs
    for number in range(count):
        description, arrays = copy.deepcopy(contents)
        changes = []
        for _ in range(1 if random.rand() < 0.7 else random.randint(2, 4)):
            if arrays and random.rand() < 0.4:
                changes.append(mutate_array(arrays, random))
            else:
                changes.append(mutate_description(description, random))
        change = f"{name} {number}: {'; '.join(changes)}"
        print(change, file=log, flush=True)
        write_container(Path("changed.fastnn"), Contents(description, arrays))
        faulthandler.dump_traceback_later(PATIENCE, exit=True)
        try:
            n_loaded += load_and_use("changed.fastnn", original, name)
        except Exception:
            failures.append(f"{change}\n{traceback.format_exc()}")
        finally:
            faulthandler.cancel_dump_traceback_later()
    return failures, n_loaded


def load_and_use(path, original, name):
    """Load a file and use the object; return False if the file is refused by a ValueError."""
    try:
        loaded = fastnn.load(path)
    except ValueError as error:
        if str(error).startswith(path):
            return False
        raise
    for one in use(loaded, original, name):
        with contextlib.suppress(Exception):
            one()
    return True


def main():
    folder, count, seed, *names = sys.argv[1:]
    os.chdir(folder)
    faulthandler.enable()
    warnings.simplefilter("ignore")
    np.seterr(all="ignore")
    fastnn.Model([1, 1, 1]).predict([[0.0]])  # imports and compiles
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (limit, resource.RLIM_INFINITY))
    total = 0
    with open("log", "w", encoding="utf-8") as log:
        for name in names:
            failures, n_loaded = run(name, int(count), int(seed), log)
            total += len(failures)
            print(f"{name}: {n_loaded} of {count} loaded, {len(failures)} failures")
            print(*failures, sep="\n\n", flush=True)
    sys.exit(total > 0)


if __name__ == "__main__":
    main()
