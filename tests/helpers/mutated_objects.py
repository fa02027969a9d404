"""Program that loads and uses files whose values have been changed, for the tests of files.

``python mutated_objects.py FOLDER COUNT SEED NAME...`` changes the file of each object `COUNT` times. The
file ``FOLDER/log`` ends with the last change that was tried: the process may crash there.
"""

import contextlib
import copy
import faulthandler
import os
import pickle
import re
import resource
import sys
import traceback
import warnings
import zlib
from pathlib import Path

import numpy as np
import saved_models
from mutations import mutate_parts, parts_of, write_parts
from sklearn.exceptions import NotFittedError

import fastnn
from fastnn.tables import presets as tabular_presets
from fastnn.tables.presets import Preset

# Seconds that the use of one file may take, which includes compilation, and bytes that it may allocate.
PATIENCE = 300
MEMORY = 2 << 30
# Parameters that say how much a fit does, whose values are a user's affair.
AMOUNTS = ("max_iter", "n_estimators", "hidden_layer_sizes", "max_fun", "estimator", "time_limit", "verbose")
# Errors of NumPy and Python, which tell a user nothing.
UNCLEAR = re.compile(
    "broadcast|cannot reshape|shape mismatch|not supported between|ambiguous|array element|zip\\(|unpack"
    "|zero-size|matmul|has no attribute|out of bounds|invalid literal|could not convert|operand|not iterable"
)


class Subject:
    """Object whose files are changed.

    Parameters
    ----------
    name : str
        Name of the object in `saved_models` or in the tests of tables.
    """

    def __init__(self, name):
        self.name = name
        self.arguments = None  # of the training of a Model
        trained = saved_models.trained

        def recorded(model, targets, **options):
            self.arguments = targets, {"num_passes": 4, "epsilon": 1e-3, "random_state": 0} | options
            return trained(model, targets, **options)

        saved_models.trained = recorded
        try:
            self.thing = saved_models.make(name) if name in saved_models.MAKERS else tables()[name]()
        finally:
            saved_models.trained = trained

    def uses(self):
        """Return the functions of a loaded object that are tried one after the other."""
        if isinstance(self.thing, fastnn.Model):
            return self.predicts, self.resumes, self.trains
        if self.name in saved_models.MAKERS:
            return self.predicts, self.fits_more, self.fits_in_parts
        return self.predicts_tables, self.refits

    def predicts(self, thing):
        samples = saved_models.frame() if hasattr(thing, "feature_names_in_") else saved_models.X
        for name in ("predict", "predict_proba", "predict_log_proba", "decision_function"):
            if hasattr(thing, name):
                with attempted():
                    getattr(thing, name)(samples)
        with attempted():
            if hasattr(thing, "predictor"):
                thing.predictor(3)(saved_models.X[:3])
        copied(thing)

    def resumes(self, model):
        if self.arguments is None:
            return
        targets, options = self.arguments
        with attempted():
            model.train(
                saved_models.X, targets, **options | {"num_passes": options["num_passes"] + 2}, resume=True
            )
        copied(model)

    def trains(self, model):
        with attempted():
            saved_models.fit_more(model, self.name)
        copied(model)

    def fits_more(self, estimator):
        restore_amounts(estimator, self.thing)
        with attempted():
            saved_models.fit_more(estimator, self.name)
        copied(estimator)

    def fits_in_parts(self, estimator):
        """Fit in parts of a few rows, most of which `OnlineSteps` does."""
        restore_amounts(estimator, self.thing)
        if not hasattr(estimator, "partial_fit"):
            return
        with attempted():
            targets = estimator.predict(saved_models.X)
            for k in range(5):
                estimator.partial_fit(saved_models.X[k : k + 3], targets[k : k + 3])
        copied(estimator)

    def predicts_tables(self, thing):
        with attempted():
            if self.name in tables():
                table_tests().outputs(thing)
        with attempted():
            if hasattr(thing, "summary"):
                thing.summary()
        with attempted():
            if hasattr(thing, "get_feature_names_out"):
                thing.get_feature_names_out()
        copied(thing)

    def refits(self, thing):
        restore_amounts(thing, self.thing)
        module = table_tests()
        with attempted():
            X = module.table_of(thing)
            if hasattr(thing, "transform"):
                thing.fit(X)
            else:
                thing.fit(X, module.CLASSES if hasattr(self.thing, "classes_") else module.SCORE)


def restore_amounts(estimator, before):
    """Set the parameters that say how much a fit does to those of the object that was saved."""
    parameters = before.get_params(deep=False)
    for name in AMOUNTS:
        if name in parameters:
            setattr(estimator, name, parameters[name])


def table_tests():
    """Return the module of the tests of tables."""
    import test_tables

    return test_tables


def tables():
    """Return functions that make transformers and tabular estimators, by name."""
    tabular_presets.PRESETS["fast"] = Preset(1, (8,), 6)
    module = table_tests()
    return {f"table: {name}": make for name, make in (module.TRANSFORMERS | module.ESTIMATORS).items()}


@contextlib.contextmanager
def attempted():
    """Run a use of an object, which may fail by a ValueError that a user understands."""
    try:
        yield
    except (ValueError, NotFittedError) as error:
        if not str(error).strip() or UNCLEAR.search(str(error).splitlines()[0]):
            raise RuntimeError(f"an unclear error: {error}") from error


def copied(thing):
    """Save, copy, pickle and describe an object; load and describe the file."""
    with attempted():
        thing.save("copy.fastnn")
        str(fastnn.info("copy.fastnn"))
        fastnn.load("copy.fastnn")
    with attempted():
        pickle.loads(pickle.dumps(copy.deepcopy(thing)))
        repr(thing)


def run(name, count, seed, log):
    """Change the file of an object `count` times, and use what can still be loaded.

    Returns the failures as texts, and the number of the files that were loaded.
    """
    subject = Subject(name)
    subject.thing.save("original.fastnn")
    parts = parts_of("original.fastnn")
    random = np.random.RandomState([seed, zlib.crc32(name.encode())])
    failures, n_loaded = [], 0
    for use in subject.uses():  # compiles what the object needs
        use(fastnn.load("original.fastnn"))
    for number in range(count):
        metadata, description, arrays = copy.deepcopy(parts)
        n_changes = 1 if random.rand() < 0.7 else random.randint(2, 4)
        changes = [mutate_parts(description, arrays, random) for _ in range(n_changes)]
        change = f"{name} {number}: {'; '.join(changes)}"
        print(change, file=log, flush=True)
        write_parts(Path("changed.fastnn"), metadata, description, arrays)
        faulthandler.dump_traceback_later(PATIENCE, exit=True)
        try:
            n_loaded += is_used(subject)
        except Exception:
            failures.append(f"{change}\n{traceback.format_exc()}")
        finally:
            faulthandler.cancel_dump_traceback_later()
    return failures, n_loaded


def is_used(subject):
    """Load the changed file and use the object; return False if the file is refused by a ValueError."""
    with contextlib.suppress(ValueError):
        str(fastnn.info("changed.fastnn"))
    for use in subject.uses():
        try:
            loaded = fastnn.load("changed.fastnn")
        except ValueError as error:
            if str(error).startswith("changed.fastnn"):
                return False
            raise
        use(loaded)
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
