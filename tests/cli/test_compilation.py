"""``fastnn compile``: it compiles the kernels of a usual first use, and later processes load them."""

import functools
import multiprocessing
import os
import re
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import numba
import numpy as np
import pytest
import scipy.sparse
from processes import PATIENCE, run_python
from small_tasks import TINY, end_process

import fastnn
import fastnn_kernels
from fastnn.cli import compile as compilation
from fastnn.cli import main as cli
from fastnn.cli.compile import PURPOSES, TASKS, fill_cache
from fastnn.engine.arguments import sharing
from fastnn.engine.choice import get_backend
from fastnn.losses import LOSSES
from fastnn.optimizers import OPTIMIZERS
from fastnn.reference.grid import RESPONSES
from fastnn.reference.layer import ACTIVATIONS
from fastnn_kernels.calls.formulas import forward_table
from fastnn_kernels.compiler import jit

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("registry", [ACTIVATIONS, LOSSES, OPTIMIZERS, RESPONSES])
def test_everything_registered_has_a_task(registry):
    words = {word for name in TASKS for word in re.split("[ ,]+", name)}
    assert words >= {*registry}


def test_tasks_serve_exactly_the_purposes_of_the_command():
    assert {purpose for task in TASKS.values() for purpose in task.purposes} == {*PURPOSES}


@pytest.mark.parametrize("batch_size", [100, compilation.N_SAMPLES])
def test_units_of_wide_layers_are_shared(batch_size):
    for settings in ({}, {"dropout": 0.1}, {"batch_norm": True}):
        assert sharing(fastnn.Model(compilation._WIDE, **settings)._network, batch_size) == (2, True)


@pytest.mark.filterwarnings("ignore")  # one epoch does not converge
@pytest.mark.parametrize("purpose", PURPOSES)
def test_a_usual_first_use_compiles_nothing_more(purpose, monkeypatch):
    get_backend("numba")
    compiled = []
    ensemble()  # train it now: training kernels are not part of a picture
    for task in TASKS.values():
        if purpose in task.purposes:
            task.run(np.dtype("float64"))
    monkeypatch.setattr(jit, "compilation_listeners", [compiled.append])
    monkeypatch.setattr(
        jit, "read_entries", lambda name: ()
    )  # no further kernel can be loaded from the cache, either
    for use in USES[purpose]:
        use()
        assert compiled == [], use


X = np.random.default_rng(0).normal(size=(300, 2))
Y = (X[:, 0] > X[:, 1]).astype(int)
SPARSE = scipy.sparse.random_array((300, 100), density=0.02, format="csr", rng=0)


def train(**settings):
    names = {"activation", "loss", "batch_norm", "dropout"}
    model = fastnn.Model([2, 8, 2], random_state=0, **{k: settings.pop(k) for k in names & {*settings}})
    y = Y if model.loss.of_labels else np.eye(2)[Y]
    model.train(X, y, 2, 1e-4, validation_data=(X, y), random_state=0, **settings)
    model.predict(X)
    model.predictor()(X[0])
    return model


def train_wide(**settings):
    model = fastnn.Model([300, 200, 2], random_state=0, **settings)
    model.train(np.tile(X, (1, 150)), Y, 2, 1e-4, batch_size=100, random_state=0)


def predict_wide():
    fastnn.Model([2, 600, 600, 3], random_state=0).predict(np.tile(X, (20, 1)))


def fit(kind, X, y, **settings):
    model = kind(max_iter=2, random_state=0, **settings).fit(X, y)
    model.predict(X)
    if hasattr(model, "predict_proba"):
        model.predict_proba(X)
    return model


def draw(model, **settings):
    return fastnn.render_boundary(model, (-2, 2), (-2, 2), 50, **settings)


@functools.cache
def ensemble():
    members = fastnn.MLPClassifier((4,), learning_rate_init=0.1, max_iter=20)
    return fastnn.MLPEnsembleClassifier(members, 2, random_state=0).fit(X, Y)


def draw_ensemble():
    for settings in ({"method": "certified"}, {"method": "dense"}, {"response": "margin"}):
        draw(ensemble(), **settings)


MODEL = fastnn.Model([2, 8, 2], activation="relu", random_state=0)
CLASSIFIER, REGRESSOR = fastnn.MLPClassifier, fastnn.MLPRegressor
USES = {
    "training": [
        train,
        lambda: train(batch_size=32, optimizer="adam", clip_norm=1.0, ema_decay=0.9, progress=False),
        lambda: train(batch_size=32, dropout=0.5, batch_norm=True, activation="gelu", max_norm=2.0),
        lambda: train(batch_size=32, optimizer="adam", reg_lambda=0.0),
        lambda: train(batch_size=4, optimizer="adam"),
        lambda: train(loss="huber", optimizer="rmsprop", reduction="mean", l1=0.01),
        lambda: train(loss="sigmoid_binary_cross_entropy", optimizer="lbfgs"),
        lambda: fastnn.Model([2, 3, 2], random_state=0).check_gradients(X, Y),
        train_wide,
        lambda: train_wide(dropout=0.5),
        lambda: train_wide(batch_norm=True),
        predict_wide,
    ],
    "estimators": [
        lambda: fit(CLASSIFIER, X, Y),
        lambda: fit(CLASSIFIER, X, Y, alpha=0.0),
        lambda: fit(CLASSIFIER, np.tile(X, (1, 32)), Y, early_stopping=True),
        lambda: fit(CLASSIFIER, X[:50], np.arange(50) % 3, solver="lbfgs"),
        lambda: fit(REGRESSOR, X, X),
        lambda: fit(CLASSIFIER, SPARSE, Y),
        lambda: fit(REGRESSOR, SPARSE, Y, solver="lbfgs"),
        lambda: CLASSIFIER().partial_fit(X, Y, classes=[0, 1]),
        lambda: CLASSIFIER().partial_fit(X[:3], Y[:3], classes=[0, 1]),
    ],
    "pictures": [
        lambda: draw(MODEL, method="dense"),
        lambda: draw(MODEL, method="certified"),
        *(functools.partial(draw, MODEL, response=name) for name in RESPONSES),
        draw_ensemble,
        lambda: fastnn.boundary_lines(MODEL, (-2, 2), (-2, 2)),
        lambda: fastnn.plot_decision_boundary(MODEL, X, Y),
    ],
}


# --- the command -----------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Return the folder of an empty cache, for this process and for those that compile."""
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(numba.core.config, "CACHE_DIR", str(tmp_path))
    return tmp_path / "fastnn_kernels"


def test_the_next_process_compiles_nothing(folder, monkeypatch, capsys):
    monkeypatch.setattr(compilation, "TASKS", TINY)
    assert cli.main(["compile", "--dtype", "float32", "--for", "training"]) == 0
    entries = list(folder.glob("*.nbc"))
    size = sum(path.stat().st_size for path in entries)
    printed = capsys.readouterr().out
    pattern = rf"{len(entries)} kernels, {size / 1e6:.1f} MB, compiled in \d+\.\d s and kept in {folder}\n"
    assert entries
    assert re.fullmatch(pattern, printed)
    program = """
        import numpy as np
        from fastnn_kernels.compiler import jit
        from fastnn_kernels.calls.formulas import forward_table

        compiled = []
        jit.compilation_listeners.append(compiled.append)
        forward_table(("tanh",), np.dtype("float32")).compile()
        print(len(compiled))
        forward_table(("tanh",), np.dtype("float64")).compile()
        print(len(compiled))
    """
    roots = [str(Path(module.__file__).parents[1]) for module in (fastnn, fastnn_kernels)]
    assert run_python(program, PYTHONPATH=os.pathsep.join(roots)).split() == ["0", "1"]
    assert fill_cache(["float32"], ["training"])[:3] == (folder, 0, 0)


def test_a_folder_that_cannot_be_written_to_is_refused_at_once(tmp_path, monkeypatch, capsys):
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(numba.core.config, "CACHE_DIR", str(tmp_path / "file"))
    assert cli.main(["compile"]) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert re.fullmatch(r"fastnn: .*file/fastnn_kernels: .*NUMBA_CACHE_DIR to a folder .*\n", printed.err)


def test_kernels_that_cannot_be_cached_are_an_error(folder, tmp_path, monkeypatch, capsys):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "file"))  # for the processes that compile
    monkeypatch.setattr(compilation, "TASKS", TINY)
    assert cli.main(["compile", "--for", "training", "--dtype", "float32"]) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert re.fullmatch(r"fastnn: .*file/fastnn_kernels: .*NUMBA_CACHE_DIR to a folder .*\n", printed.err)


def test_an_interrupt_ends_the_processes_that_compile(folder, monkeypatch, capsys):
    def interrupted(*arguments):
        signal.raise_signal(signal.SIGINT)
        return wait(*arguments)

    wait = compilation.wait
    later = TINY["tanh"]._replace(run=functools.partial(forward_table, ("relu",)), is_first=False)
    monkeypatch.setattr(compilation, "TASKS", {**TINY, "relu": later})
    monkeypatch.setattr(compilation, "wait", interrupted)
    before = multiprocessing.active_children()  # idle processes of other tests
    assert cli.main(["compile", "--for", "training", "--dtype", "float32"]) == 130
    assert capsys.readouterr().err == "interrupted\n"
    assert set(multiprocessing.active_children()) <= set(before)
    assert not [path for path in folder.glob("*.nbc") if "relu" in path.name]


def test_a_killed_process_is_an_error_with_advice(folder, monkeypatch, capsys):
    monkeypatch.setattr(compilation, "TASKS", {"end": TINY["tanh"]._replace(run=end_process)})
    assert cli.main(["compile", "--for", "training", "--dtype", "float32"]) == 1
    assert re.fullmatch(
        r"fastnn: a process .* was killed, .*: run the command again, .*\n", capsys.readouterr().err
    )


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="Windows has no SIGKILL")
def test_processes_that_compile_end_with_a_killed_parent():
    program = """
        import multiprocessing, os, signal
        from concurrent.futures import ProcessPoolExecutor
        from fastnn.cli.compile import _begin_process

        pool = ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), _begin_process)
        pool.submit(os.getpid).result()
        os.kill(os.getpid(), signal.SIGKILL)
    """
    # The process that compiles holds the other end of the pipes: `run` returns when it has ended, too.
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], timeout=PATIENCE, capture_output=True,
        cwd=Path(__file__).parents[2],
    )  # fmt: skip
    assert done.returncode == -signal.SIGKILL


def test_processes_that_compile_start_with_interrupts_ignored():
    """A terminal sends Ctrl-C to all processes: those that compile ignore it from their start on."""

    class Pool:
        def submit(self, *arguments):
            seen.append(signal.getsignal(signal.SIGINT))

    seen, before = [], signal.getsignal(signal.SIGINT)
    compilation._submitted(Pool(), [(print, "float64")])
    assert seen == [signal.SIG_IGN]
    assert signal.getsignal(signal.SIGINT) == before


def test_disabled_compilation_is_an_error(monkeypatch, capfd):
    monkeypatch.setenv("NUMBA_DISABLE_JIT", "1")  # for the processes that compile
    monkeypatch.setattr(compilation, "TASKS", TINY)
    assert cli.main(["compile", "--dtype", "float32"]) == 1
    assert "fastnn: NUMBA_DISABLE_JIT is set" in capfd.readouterr().err


@pytest.mark.parametrize("purposes", ["", "training,", "painting", "training, pictures"])
def test_unknown_purposes_are_refused(purposes, capsys):
    with pytest.raises(SystemExit) as stopped:
        cli.main(["compile", "--for", purposes])
    assert stopped.value.code == 2
    assert "is none of training, estimators, pictures" in capsys.readouterr().err
