"""Measure the figures of the documents and print them as tables.

    python bench/report.py                            # all sections
    python bench/report.py minibatches                # one section
    python bench/report.py minibatches --chart FILE   # training runs on minibatches, also as a bar chart
    python bench/report.py grid --chart FILE          # pictures, also as curves of time by size
    python bench/report.py wide --turns 1             # a trial: figures of one turn

The sides of a comparison run in turns in one process, so that a slow moment of the machine affects all of
them. Each figure is the fastest of its turns, which other work on the machine disturbed least.

Where matrix products take most of the time, a row ends with the fraction of the machine's limit: NumPy's BLAS
on large products of the same dtype in the same run, times the cores in use.
"""

from __future__ import annotations

import argparse
import platform
import time
from collections.abc import Callable
from functools import cache, partial

import cases
import cores
import estimators
import numpy as np
import pictures
from cpuinfo import get_cpu_info
from machine import commit, machine
from threadpoolctl import threadpool_limits
from workloads import (
    SMALL_BATCHES,
    WIDE_TRAININGS,
    WORKLOADS,
    Run,
    Workload,
    estimator_run,
    fastnn_run,
    sides,
)

import fastnn
from fastnn.engine import limits
from fastnn.system.threads import count_cores

# Largest number of turns of a comparison, set by --turns.
MAX_TURNS = 1000


def best(turns: int, rest: float = 0.0, runs: int = 1, **actions: Callable[[], object]) -> dict[str, float]:
    """Return the seconds of the fastest run of each action, after a turn of warm-up.

    Actions run in turns, each `runs` times in a row, after `rest` seconds: threads of other libraries spin
    for some time after their work.
    """
    seconds = {name: float("inf") for name in actions}
    for turn in range(min(turns, MAX_TURNS) + 1):
        for name, action in actions.items():
            if rest:  # a sleep of 0 seconds lets other processes empty the caches
                time.sleep(rest)
            for _ in range(runs):
                started = time.perf_counter()
                action()
                if turn:
                    seconds[name] = min(seconds[name], time.perf_counter() - started)
    return seconds


def repeated(count: int, action: Callable[[], object]) -> Callable[[], None]:
    """Return a function that calls `action` `count` times."""

    def run() -> None:
        for _ in range(count):
            action()

    return run


def row(what: str, peer: str, ours: str, ratio: float, fraction: float = float("nan")) -> None:
    """Print a row of a table; a `ratio` or a `fraction` of the limit that is NaN is left out."""
    last = "" if ratio != ratio else f"{ratio:.3g}", "" if fraction != fraction else f"{fraction:.0%}"
    print("|", " | ".join([what, peer, ours, *last]), "|", flush=True)


def training() -> None:
    """Measure the tutorial's training beside its NumPy loop, the NumPy backend and scikit-learn."""
    epochs = cases.EPOCHS
    t = best(
        5,
        tutorial=lambda: cases.train_tutorial(epochs),
        reference=lambda: cases.train_model(epochs, backend="numpy"),
        float64=lambda: cases.train_model(epochs),
        float32=lambda: cases.train_model(epochs, dtype=np.float32),
        sklearn=lambda: cases.train_sklearn(epochs),
    )
    for dtype in ("float64", "float32"):
        ours = f"{t[dtype]:.4f} s"
        what = f"the tutorial's training, {dtype}"
        row(what, f"tutorial's NumPy {t['tutorial']:.2f} s", ours, t["tutorial"] / t[dtype])
        row(what, f'backend="numpy" {t["reference"]:.2f} s', ours, t["reference"] / t[dtype])
        row(what, f"scikit-learn {t['sklearn']:.2f} s", ours, t["sklearn"] / t[dtype])


def grid() -> None:
    """Measure pictures of decision boundaries, by evaluating all pixels and by squares."""
    cores = count_cores()
    for (name, make), size in zip(pictures.MODELS.items(), (cases.GRID, cases.GRID // 2), strict=True):
        model, small = make(), 1024
        # Threads of the BLAS spin for some time after a product and would take half a core from a run on all
        # cores: run the peers first, then one thread, and all cores last.
        t = best(
            3,
            **{who: partial(paint, model, small) for who, paint in pictures.PEERS.items()},
            one_thread=partial(pictures.dense, model, size, 1),
            ours=partial(pictures.dense, model, size, cores),
        )
        rate = {who: (small if who in pictures.PEERS else size) ** 2 / s / 1e6 for who, s in t.items()}
        for what, ours in ((f"{cores} threads", "ours"), ("1 thread", "one_thread")):
            for peer in pictures.PEERS:
                row(
                    f"{name}, float32, all of {size} x {size} pixels, {what}",
                    f"{peer} {rate[peer]:.3g} M points/s",
                    f"{rate[ours]:.0f} M points/s",
                    rate[ours] / rate[peer],
                )
    model, size = pictures.spiral_model(), cases.GRID
    out = np.zeros((size, size), np.uint8)
    t = best(
        5,
        squares=partial(pictures.certified, model, size, out),
        dense=partial(pictures.dense, model, size),
        png=partial(pictures.to_png, model, 4 * size),
    )
    row(
        f"[2, 32, 32, 3] by squares, {size} x {size}",
        f"all pixels {t['dense']:.2f} s",
        f"{t['squares']:.4f} s",
        t["dense"] / t["squares"],
    )
    row(
        f"[2, 32, 32, 3] by squares, {4 * size} x {4 * size} to a PNG",
        "",
        f"{t['png']:.2f} s",
        float("nan"),
    )
    t = best(3, ours=partial(pictures.plot_ours, 2048), theirs=partial(pictures.plot_sklearn, 2048))
    row(
        "plot_decision_boundary, 2048 x 2048",
        f"DecisionBoundaryDisplay {t['theirs']:.2f} s",
        f"{t['ours']:.3f} s",
        t["theirs"] / t["ours"],
    )
    print("\n| pixels a side | by squares: bounding and evaluating | filling | in all | all pixels |")
    print("| --- | --- | --- | --- | --- |")
    for side in pictures.GROWTH:
        GROWTH[side] = seconds = growth(model, side)
        print(
            "| " + " | ".join([str(side), *("" if s != s else f"{s * 1e3:.1f} ms" for s in seconds)]) + " |",
            flush=True,
        )


# Pixels per second at which JAX evaluates networks such as [2, 32, 32, 2] on two cores.
JAX_RATE = 5e7
# The seconds that `grid` measured, by pixels a side: the data of `growth_chart`.
GROWTH: dict[int, list[float]] = {}


def growth(model: fastnn.Model, side: int) -> list[float]:
    """Return the seconds of one thread for a picture of `side` x `side` pixels.

    The four numbers are: bounding and evaluating, filling, the whole picture by squares, and the whole
    picture by evaluating all pixels, which is measured up to 8192 pixels a side and is NaN beyond.
    """
    out = np.zeros((side, side), np.uint8)
    every = []
    for _ in range(5):
        seconds = pictures.certified(model, side, out, 1).stats.seconds
        every.append((seconds["bounding"] + seconds["evaluating"], seconds["filling"], seconds["total"]))
    dense = float("nan")
    if side <= cases.GRID:
        dense = min(pictures.dense(model, side, 1).stats.seconds["total"] for _ in range(2))
    return [*(min(column) for column in zip(*every, strict=True)), dense]


def growth_chart(path: str) -> None:
    """Draw the seconds that `grid` measured against the size of the picture."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    sides = np.array(list(GROWTH))
    work, filling, total, dense = np.array(list(GROWTH.values())).T
    figure, (seconds, rate) = plt.subplots(1, 2, figsize=(10, 3.6), layout="constrained")
    for values, label, colour in (
        (dense, "all pixels evaluated", "#4a7c9d"),
        (total, "by squares", "#d1495b"),
        (work, "of that: bounding and evaluating", "#e9a3ac"),
        (filling, "of that: filling", "#8d99ae"),
    ):
        seconds.plot(sides, values, "o-", color=colour, label=label)
    seconds.set(ylabel="seconds, one thread")
    rate.plot(sides, sides**2 / dense / 1e6, "o-", color="#4a7c9d", label="all pixels evaluated")
    rate.plot(sides, sides**2 / total / 1e6, "o-", color="#d1495b", label="by squares")
    rate.set(ylabel="million pixels per second")
    for ax in (seconds, rate):
        ax.set(xscale="log", yscale="log", xlabel="pixels per side")
        ax.set_xticks(sides, [str(side) for side in sides])
        ax.minorticks_off()
        ax.grid(alpha=0.3)
        ax.legend(fontsize=8)
        ax.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=150)


# The seconds that `stored` measured, by pixels a side: the data of `stored_chart`.
STORED: dict[int, float] = {}


def stored() -> None:
    """Measure pictures that are written to Zarr arrays, up to a trillion pixels."""
    model = fastnn.Model([2, 32, 32, 2], activation="relu", random_state=0)
    model.train(cases.X, cases.y, num_passes=1000, epsilon=1e-3)
    for side in pictures.STORED:
        STORED[side], n_files, size = min(pictures.to_zarr(model, side) for _ in range(3))
        row(
            f"[2, 32, 32, 2], {side} x {side} to Zarr, {n_files} files, {size / 1e6:.1f} MB",
            f"JAX, every pixel, extrapolated: {side**2 / JAX_RATE:.3g} s",
            f"{STORED[side]:.2f} s",
            side**2 / JAX_RATE / STORED[side],
        )


def stored_chart(path: str) -> None:
    """Draw the seconds that `stored` measured against the size of the picture."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    sides, seconds = np.array(list(STORED)), np.array(list(STORED.values()))
    figure, ax = plt.subplots(figsize=(6, 3.6), layout="constrained")
    ax.plot(sides, sides**2 / JAX_RATE, "--", color="#4a7c9d", label="JAX, every pixel, extrapolated")
    ax.plot(sides, seconds, "o-", color="#d1495b", label="fastnn, certified, into a Zarr array")
    ax.set(xscale="log", yscale="log", xlabel="pixels per side", ylabel="seconds")
    ax.set_xticks(sides, [f"{side:,}" for side in sides], rotation=30)
    ax.minorticks_off()
    ax.grid(alpha=0.3)
    ax.legend(fontsize=8)
    ax.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=150)


def minibatches() -> None:
    """Measure training runs on minibatches beside the peers, and the fraction of the core's limit."""
    compare_trainings(WORKLOADS)


def wide_trainings() -> None:
    """Measure training runs of wide layers beside the peers, and the fraction of the core's limit."""
    compare_trainings(WIDE_TRAININGS)


def compare_trainings(workloads: dict[str, Workload]) -> None:
    """Print the seconds, scores and ratios of all sides of some training runs."""
    one_core = product_limit()
    print(f"\n(one core's float32 products reach {one_core / 1e9:.0f} GFLOP/s)\n")
    print("| training | who | time | a step | GFLOP/s | score | fastnn is faster by | of the limit |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for name, workload in workloads.items():
        runs = {side: prepare(workload) for side, prepare in sides().items()}
        seconds = dict.fromkeys(runs, float("inf"))
        scores = {}
        for _ in range(min(5, MAX_TURNS)):
            for side, run in runs.items():
                time.sleep(0.2)  # threads of the peers' pools spin for some time after a run: let them end
                started = time.perf_counter()
                score = run()
                seconds[side] = min(seconds[side], time.perf_counter() - started)
                scores[side] = score()
        ours = min(seconds["fastnn"], seconds["fastnn, 2 threads"])
        for side, time_taken in seconds.items():
            n_cores = 1 if side in ("fastnn", "torch, 1 thread") else count_cores()
            share = workload.operations / time_taken / (one_core * n_cores)
            print(
                f"| {name} | {side} | {time_taken:.4f} s | {time_taken / workload.n_steps * 1e6:.1f} us | "
                f"{workload.operations / time_taken / 1e9:.1f} | {scores[side]:.4f} | "
                f"{time_taken / ours:.3g} | {share:.1%} |",
                flush=True,
            )
        MEASURED[name] = seconds


# The seconds that `minibatches` measured, by workload and side: the data of `chart`.
MEASURED: dict[str, dict[str, float]] = {}


@cache
def product_limit(dtype: type = np.float32) -> float:
    """Return the FLOPS of one core on large matrix products, by NumPy's BLAS."""
    random = np.random.default_rng(0)
    A, B = random.normal(size=(2, 768, 768)).astype(dtype)
    C = np.empty_like(A)
    with threadpool_limits(1):
        t = best(20, product=lambda: np.dot(A, B, out=C))
    return 2 * 768**3 / t["product"]


def chart(path: str) -> None:
    """Draw the seconds that `minibatches` measured as bars."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    colours = {"fastnn": "#d1495b", "scikit-learn": "#8d99ae", "torch": "#bf9b30", "jax": "#4a7c9d"}
    figure, axes = plt.subplots(1, len(MEASURED), figsize=(11, 2.9), layout="constrained")
    for ax, (name, seconds) in zip(axes, MEASURED.items(), strict=True):
        # A bar shows the faster number of threads of a side.
        shown: dict[str, float] = {}
        for side, value in seconds.items():
            who = side.partition(",")[0]
            shown[who] = min(value, shown.get(who, float("inf")))
        names = list(shown)[::-1]
        step = [shown[who] / WORKLOADS[name].n_steps * 1e6 for who in names]
        bars = ax.barh(names, step, color=[colours[who] for who in names])
        ax.bar_label(bars, [f"{value:,.0f}" if value >= 100 else f"{value:.1f}" for value in step], padding=3)
        ax.set_xlim(0, max(step) * 1.25)
        ax.set_title(f"{name} {list(WORKLOADS[name].layers_dim)}", fontsize=9)
        ax.set_xlabel("microseconds per step")
        ax.spines[["top", "right"]].set_visible(False)
        if ax is not axes[0]:
            ax.set_yticklabels([])
    figure.savefig(path, dpi=150)


def prediction() -> None:
    """Measure the prediction of one row."""
    one = cases.X[:1].copy()
    model, estimator = cases.train_fastnn(), cases.train_sklearn_twin()
    t = best(
        20,
        ours=repeated(1000, lambda: model.predict(one)),
        sklearn=repeated(100, lambda: estimator.predict(one)),
    )
    ours, theirs = t["ours"] * 1e3, t["sklearn"] * 1e4
    row("predict one row", f"scikit-learn {theirs:.0f} us", f"{ours:.1f} us", theirs / ours)


def wide() -> None:
    """Measure predictions of wide layers beside the products alone by NumPy's BLAS."""
    for layers_dim in cores.WIDE:
        for dtype in (np.float64, np.float32):
            actions, operations = cores.wide(layers_dim, dtype)
            t = best(10, rest=0.2, **actions)
            rate = {side: f"{operations / seconds / 1e9:.0f} GFLOP/s" for side, seconds in t.items()}
            what = f"scores of {cores.N_SAMPLES} samples, {list(layers_dim)}, {np.dtype(dtype)}"
            fraction = operations / t["ours"] / (product_limit(dtype) * count_cores())
            row(what, f"products by NumPy {rate['numpy']}", rate["ours"], t["numpy"] / t["ours"], fraction)


def sharing() -> None:
    """Measure training runs on two threads, and on a number that fastnn chooses, beside one thread."""
    for what, (train, operations) in cores.list_shared_trainings().items():
        t = best(4, one=partial(train, 1), two=partial(train, 2), chosen=partial(train, None))
        cores_limit = operations / (product_limit() * 2)
        row(
            f"{what}, two threads",
            f"one thread {t['one']:.3f} s",
            f"{t['two']:.3f} s",
            t["one"] / t["two"],
            cores_limit / t["two"],
        )
        row(
            "the same, n_threads=None",
            "",
            f"{t['chosen']:.3f} s",
            t["one"] / t["chosen"],
            cores_limit / t["chosen"],
        )


def fits() -> None:
    """Measure fits of fastnn's estimators beside scikit-learn's."""
    ours, theirs = estimators.SIDES.values()
    digits = {
        "ours": lambda: estimators.fit_digits(ours),
        "theirs": lambda: estimators.fit_digits(theirs),
    }
    comparison("fit: digits, defaults, 20 epochs, fits in a row", best(5, rest=0.3, runs=4, **digits))
    comparison("fit: digits, defaults, 20 epochs, each after a pause", best(8, rest=0.3, **digits))
    for name in ("digits", "table", "mnist shape"):
        workload = WORKLOADS[name]
        runs = {"ours": estimator_run(workload, ours), "theirs": estimator_run(workload, theirs)}
        # The others have steps too short for two threads, and products too small to take most of the time.
        comparison(
            f"fit: {name}", best(5, **runs), workload.operations if name == "mnist shape" else float("nan")
        )
    comparison(
        "fit: 5,000 documents of 30,000 words, sparse",
        best(3, ours=lambda: estimators.fit_words(ours), theirs=lambda: estimators.fit_words(theirs)),
    )
    comparison(
        "fit: iris, defaults",
        best(5, ours=lambda: estimators.fit_iris(ours), theirs=lambda: estimators.fit_iris(theirs)),
    )
    one = best(50, ours=lambda: estimators.fit_iris(ours, max_iter=1))
    row("fit: iris, one epoch", "", f"{one['ours'] * 1e3:.2f} ms", float("nan"))
    few = 4  # scikit-learn fits these one by one: extrapolate from a few
    t = best(
        5,
        ours=estimators.fit_side_by_side,
        alone=lambda: estimators.fit_one_by_one(ours),
        theirs=lambda: estimators.fit_one_by_one(theirs, few),
    )
    t["theirs"] *= estimators.NETWORKS / few
    comparison("64 networks at once", t)
    row("", f"one by one {t['alone']:.3f} s", "", t["alone"] / t["ours"])
    for batch_size in (32, "auto"):
        t = best(
            1,
            ours=partial(estimators.search, ours, batch_size),
            alone=partial(estimators.search, ours, batch_size, n_jobs=1),
            theirs=partial(estimators.search, theirs, batch_size),
        )
        comparison(f"GridSearchCV, 24 candidates, 5 folds, batches: {batch_size}", t)
        row("", f"one job {t['alone']:.3f} s", "", t["alone"] / t["ours"])
    sample = np.array([[5.1, 3.5, 1.4, 0.2]])
    fitted, peer = estimators.fit_iris(ours), estimators.fit_iris(theirs)
    predictor = fitted.predictor()
    t = best(
        20,
        ours=repeated(1000, lambda: fitted.predict(sample)),
        predictor=repeated(1000, lambda: predictor(sample)),
        theirs=repeated(100, lambda: peer.predict(sample)),
    )
    micro = {name: seconds * (1e4 if name == "theirs" else 1e3) for name, seconds in t.items()}
    for name, what in (("ours", "predict"), ("predictor", "predictor")):
        row(
            f"{what}: one row",
            f"scikit-learn {micro['theirs']:.0f} us",
            f"{micro[name]:.2f} us",
            micro["theirs"] / micro[name],
        )


def vectors() -> None:
    """Measure steps on small batches, with vectors along the samples and, where fastnn does so, the units."""
    along_units = limits.ROW_BYTES

    def by(row_bytes: int, run: Run) -> None:
        limits.ROW_BYTES = row_bytes
        run()

    for dtype in ("float32", "float64"):
        for optimizer in ("sgd", "adam"):
            for size, workload in SMALL_BATCHES.items():
                run = fastnn_run(workload, dtype=dtype, optimizer=optimizer)
                t = best(5, samples=partial(by, 0, run), units=partial(by, along_units, run))
                micro = {way: f"{seconds / workload.n_steps * 1e6:.1f} us" for way, seconds in t.items()}
                by_units = size * np.dtype(dtype).itemsize <= along_units
                row(
                    f"a step of [13, 100, 2], {dtype}, {optimizer}, batch of {size}",
                    f"along samples {micro['samples']}",
                    micro["units"] if by_units else "",
                    t["samples"] / t["units"] if by_units else float("nan"),
                )


def small() -> None:
    """Measure steps on small batches beside JAX, if it is installed, and partial fits of one row."""
    for size, workload in SMALL_BATCHES.items():
        runs = {side: make(workload) for side, make in sides().items() if side in ("fastnn", "jax")}
        seconds = best(5, **runs)
        micro = {side: time_taken / workload.n_steps * 1e6 for side, time_taken in seconds.items()}
        theirs = micro.get("jax", float("nan"))
        peer = "" if theirs != theirs else f"JAX {theirs:.2f} us"
        what = f"a step of [13, 100, 2], float32, Adam, batch of {size}"
        row(what, peer, f"{micro['fastnn']:.2f} us", theirs / micro["fastnn"])
    modules = list(estimators.SIDES.values())
    for kind in ("MLPClassifier", "MLPRegressor"):
        calls = {"ours": 1000, "theirs": 50}
        t = best(
            5,
            ours=repeated(calls["ours"], estimators.row_fit(modules[0], kind)),
            theirs=repeated(calls["theirs"], estimators.row_fit(modules[1], kind)),
        )
        micro = {side: t[side] / calls[side] * 1e6 for side in t}
        row(
            f"{kind}.partial_fit: one row",
            f"scikit-learn {micro['theirs']:.0f} us",
            f"{micro['ours']:.1f} us",
            micro["theirs"] / micro["ours"],
        )


def lbfgs() -> None:
    """Measure fits of small tables by L-BFGS beside scikit-learn's, and print the iterations of both."""
    ours, theirs = estimators.SIDES.values()
    for table in estimators.LBFGS_TABLES:
        for width in estimators.LBFGS_WIDTHS:
            fits = {"ours": partial(estimators.fit_by_lbfgs, ours, table, width)}
            fits["theirs"] = partial(estimators.fit_by_lbfgs, theirs, table, width)
            t = best(5, rest=0.2, runs=4, **fits)
            n_iter, n_theirs = (fit().n_iter_ for fit in fits.values())
            row(
                f"lbfgs: {table}, hidden layer of {width}",
                f"scikit-learn {t['theirs'] * 1e3:.1f} ms, {n_theirs} iterations",
                f"{t['ours'] * 1e3:.2f} ms, {n_iter} iterations",
                t["theirs"] / t["ours"],
            )


def accuracy() -> None:
    """Compare the accuracies of both sides' fits on held-out data, over ten seeds."""
    for name in ("digits", "table", "mnist shape"):
        ours, theirs = (estimators.held_out_accuracies(name, side) for side in estimators.SIDES.values())
        shown = [f"{scores.mean():.4f} +- {scores.std():.4f}" for scores in (theirs, ours)]
        row(f"accuracy, 10 seeds: {name}", f"scikit-learn {shown[0]}", shown[1], ours.mean() / theirs.mean())


def comparison(what: str, seconds: dict[str, float], operations: float = float("nan")) -> None:
    """Print the row of a comparison with scikit-learn, from the seconds of "ours" and "theirs".

    `operations` are the FLOPs of float32 products on all cores.
    """
    ours, theirs = seconds["ours"], seconds["theirs"]
    fraction = operations / ours / (product_limit() * count_cores())
    row(what, f"scikit-learn {theirs:.3f} s", f"{ours:.4f} s", theirs / ours, fraction)


def functions() -> None:
    """Measure exp and tanh of whole vectors beside NumPy's."""
    for dtype in (np.float64, np.float32):
        x = np.random.default_rng(0).normal(size=(1, 1 << 14)).astype(dtype)
        y = np.empty_like(x)
        for name in ("exp", "tanh"):
            kernel, ufunc = cases.vector_function(name), getattr(np, name)
            t = best(
                30, ours=repeated(100, lambda: kernel(x, y)), numpy=repeated(100, lambda: ufunc(x, out=y))
            )
            ours, theirs = (t[side] / 100 / x.size * 1e9 for side in ("ours", "numpy"))
            row(
                f"{name}, {np.dtype(dtype)}",
                f"NumPy {theirs:.3f} ns per value",
                f"{ours:.3f} ns",
                theirs / ours,
            )


def everyday() -> None:
    """Measure early stopping, short fits and partial fits beside scikit-learn's, on one thread."""
    ours, theirs = map(estimators.list_everyday_calls, estimators.SIDES.values())
    X, y = np.random.default_rng(0).normal(size=(20, 4)), np.arange(20) % 2
    model = fastnn.Model([4, 16, 2], random_state=0)
    with threadpool_limits(1):
        for what, call in ours.items():
            t = best(40, ours=call, theirs=theirs[what])
            row(
                what,
                f"scikit-learn {t['theirs'] * 1e3:.3g} ms",
                f"{t['ours'] * 1e3:.3g} ms",
                t["theirs"] / t["ours"],
            )
        one = best(200, ours=lambda: model.train(X, y, num_passes=1))
    row("`Model.train`, one step", "", f"{one['ours'] * 1e3:.3g} ms", float("nan"))


def startup() -> None:
    """Measure a first fit and the command in new processes."""
    t = best(
        3,
        **{name: partial(cases.python, program) for name, program in cases.FIRST_FITS.items()},
        cold=cases.moons_cold,
        warm=cases.moons_command,
        nothing=lambda: cases.python(""),
    )
    comparison("a new process to the end of its first fit, iris", t)
    row("`fastnn moons`, kernels to be compiled", "", f"{t['cold']:.2f} s", float("nan"))
    row("`fastnn moons`, from then on", "", f"{t['warm']:.2f} s", float("nan"))
    for what, seconds in cases.first_trainings().items():
        row(what, "", f"{seconds:.2f} s", float("nan"))


SECTIONS = (
    training,
    grid,
    stored,
    prediction,
    wide,
    functions,
    startup,
    fits,
    everyday,
    sharing,
    small,
    vectors,
    lbfgs,
    accuracy,
    minibatches,
    wide_trainings,
)
CHARTS = {minibatches: chart, grid: growth_chart, stored: stored_chart}


def main() -> None:
    """Run the sections named on the command line."""
    parser = argparse.ArgumentParser(description="Measure the figures in README.md and docs/.")
    names = [section.__name__ for section in SECTIONS]
    parser.add_argument(
        "sections", nargs="*", metavar="SECTION", help=f"one of {', '.join(names)}; default: all"
    )
    parser.add_argument("--chart", metavar="FILE", help="draw the section minibatches, grid or stored")
    parser.add_argument("--turns", type=int, metavar="N", help="at most N turns, for a trial")
    options = parser.parse_args()
    if not set(options.sections) <= set(names):
        parser.error(f"sections are {', '.join(names)}")
    chosen = [section for section in SECTIONS if not options.sections or section.__name__ in options.sections]
    drawn = [section for section in chosen if section in CHARTS]
    if options.chart and len(drawn) != 1:
        parser.error("--chart draws one of the sections minibatches, grid and stored: name it")
    if options.turns:
        global MAX_TURNS
        MAX_TURNS = options.turns
    print(f"- processor: {get_cpu_info().get('brand_raw', platform.machine())}")
    print(f"- Python: {platform.python_version()}")
    for name, value in {**machine(), "commit": commit()}.items():
        print(f"- {name}: {value}")
    print("\n| what | peer | fastnn | times as fast | of the limit |\n| --- | --- | --- | --- | --- |")
    for section in chosen:
        section()
    if options.chart:
        CHARTS[drawn[0]](options.chart)


if __name__ == "__main__":
    main()
