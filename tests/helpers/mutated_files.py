"""Program that changes values of saved models, loads the files, and uses what can still be loaded.

``python mutated_files.py FOLDER COUNT NAME...`` changes the file of each object `COUNT` times. Loading may
raise only a ValueError that names the file. What was loaded may raise any error, but the process must not
crash or hang. The file ``FOLDER/log`` ends with the last change that was tried.
"""

import contextlib
import copy
import faulthandler
import os
import pickle
import random
import resource
import sys
import warnings
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
NUMBERS = [-1, 0, 1, 2, 625, 2**31, 2**53, 2**63 - 1, 2**64, 10**400, -0.0, 0.5, 5e-324, 1e308]
TAGGED = [{"$float": "nan"}, {"$float": "inf"}, {"$class": "Adam"}, {"$tuple": []}, {"$dict": []}]
TAGGED += [{"$objects": ["b"]}, {"$random": 0}, {"$class": "Network", "layers_dim": [1, 1], "activation": []}]
STRANGE = [None, True, *NUMBERS, "", "0", "x" * 5000, [], {}, [[]], [None], [0, 0], [1e308, 0.5], *TAGGED]


def find_places(part):
    """Yield the container and the key of every value of a description."""
    for key in part if isinstance(part, dict) else range(len(part)) if isinstance(part, list) else ():
        yield part, key
        yield from find_places(part[key])


def change_description(description):
    """Remove, repeat, scale or replace a value of a description; return what has been changed, as text."""
    places = list(find_places(description))
    (parent, key), (other, place) = random.choice(places), random.choice(places)
    value = parent[key]
    values = [other[place], *random.sample(STRANGE, 3)]
    if type(value) in (int, float):
        values += [value + 1, -value, value * 10**6, str(value)]
    if isinstance(value, list):
        values += [value[:-1], value[::-1], value * 2]
    if random.random() < 0.1:
        del parent[key]
    else:
        parent[key] = copy.deepcopy(random.choice(values))
    return f"{key}: {str(value)[:80]}, now {str(parent)[:300]}"


def change_array(arrays):
    """Change some numbers of an array, its shape or dtype, or replace it by another; return what was done."""
    name, other = random.choice(sorted(arrays)), random.choice(sorted(arrays))
    array = arrays[name]
    if random.random() < 0.5 and array.size and array.dtype.kind in "fiu":
        array = array.copy()
        place = random.choice([slice(None), random.randrange(array.size)])
        number = random.choice([np.nan, np.inf, -1, 0, 1, 1e-320, 1e300, 624, 2**31, 2**63 - 1, array.size])
        array.reshape(-1)[place] = np.array(number).astype(array.dtype)
    else:
        shapes = [array[:-1], array[:0], array.ravel(), array[None], array.T.copy(), arrays[other]]
        array = random.choice([*shapes, array.astype("f8"), array.astype("f4"), array.astype("i8")])
    arrays[name] = array
    return f"{name}: {array.dtype} of {array.shape}"


def use(thing, original, name):
    """Yield functions that use what a changed file of `original` holds; each may raise any error."""
    samples = saved_models.make_samples(original)
    for method in ("predict", "predict_proba", "decision_function", "transform"):
        yield lambda method=method: getattr(thing, method)(samples)
    yield lambda: thing.predictor(3)(saved_models.X[:3])
    yield lambda: thing.summary()
    yield lambda: (thing.save("copy.fastnn"), str(fastnn.info("copy.fastnn")))
    yield lambda: repr(pickle.loads(pickle.dumps(copy.deepcopy(thing))))
    for amount in AMOUNTS:
        if hasattr(original, amount):
            setattr(thing, amount, getattr(original, amount))
    _, X, y, options = saved_models.CASES[name]()
    if isinstance(original, fastnn.Model) and options:
        options |= {"num_passes": options["num_passes"] + 2}
        yield lambda: copy.deepcopy(thing).train(X, y, resume=True, **options)
    rows = saved_models.X[:3]  # most partial fits of a few rows are online steps
    online = copy.deepcopy(thing)
    yield lambda: [online.partial_fit(rows, original.predict(rows)) for _ in range(3)]
    yield lambda: saved_models.fit_more(thing, name)


def load_and_use(path, original, name):
    """Load a file and use the object, unless the file is refused by a ValueError."""
    try:
        loaded = fastnn.load(path)
    except ValueError as error:
        if str(error).startswith(path):
            return
        raise
    for one in use(loaded, original, name):
        with contextlib.suppress(Exception):
            one()


def main():
    folder, count, *names = sys.argv[1:]
    os.chdir(folder)
    faulthandler.enable()
    warnings.simplefilter("ignore")
    np.seterr(all="ignore")
    fastnn.Model([1, 1, 1]).predict([[0.0]])  # imports and compiles
    limit = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize() + MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (limit, resource.RLIM_INFINITY))
    with open("log", "w", encoding="utf-8") as log:
        for name in names:
            random.seed(name)
            original = saved_models.make(name)
            original.save("original.fastnn")
            load_and_use("original.fastnn", original, name)  # compiles what the object needs
            contents, _ = read_container(Path("original.fastnn"))
            for _ in range(int(count)):
                description, arrays = copy.deepcopy(contents)
                for _ in range(random.choice([1, 1, 3])):
                    of_array = arrays and random.random() < 0.4
                    change = change_array(arrays) if of_array else change_description(description)
                    print(f"{name}, {change}", file=log, flush=True)
                write_container(Path("changed.fastnn"), Contents(description, arrays))
                faulthandler.dump_traceback_later(PATIENCE, exit=True)
                load_and_use("changed.fastnn", original, name)
                faulthandler.cancel_dump_traceback_later()


if __name__ == "__main__":
    main()
