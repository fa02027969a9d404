"""Pictures of a report as SVG elements, with the colours and fonts of the page, light or dark."""

from __future__ import annotations

import html
import io
import re
import warnings
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, PercentFormatter, StrMethodFormatter
from sklearn.metrics import roc_curve

from ...system.messages import escape_controls
from ...system.validation import Array
from ..plotting import draw_calibration, draw_residuals

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Colours that matplotlib draws with, and the variables of the page's style that replace them. matplotlib
# knows no variables; none of these colours is used for anything else.
_COLOURS = {
    "#010101": "var(--text)",
    "#020202": "var(--muted)",
    "#030303": "var(--line)",
    "#040404": "var(--accent)",
    "#050505": "var(--second)",
    "#060606": "var(--class-0)",
    "#070707": "var(--class-1)",
    "#080808": "var(--class-2)",
    "#090909": "var(--class-3)",
    "#0a0a0a": "var(--class-4)",
}
TEXT, MUTED, LINE, ACCENT, SECOND, *CLASSES = _COLOURS
# Look of lines to compare with.
REFERENCE: dict[str, Any] = {"color": MUTED, "linewidth": 1, "linestyle": (0, (4, 3))}
# Settings of matplotlib for all pictures of a page.
_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "font.size": 10,
    "text.color": TEXT,
    "text.parse_math": False,  # names of classes may hold dollars
    "axes.labelcolor": MUTED,
    "axes.edgecolor": LINE,
    "axes.linewidth": 1.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.prop_cycle": mpl.rcsetup.cycler(color=[ACCENT, SECOND]),
    "grid.color": LINE,
    "grid.linewidth": 0.7,
    "xtick.color": LINE,
    "ytick.color": LINE,
    "xtick.labelcolor": MUTED,
    "ytick.labelcolor": MUTED,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "lines.linewidth": 2.0,
    "lines.markersize": 5,
    "path.simplify": True,
}
# Largest number of points of a scatter plot: more hide each other and make the page large.
MAX_POINTS = 1500
# Largest number of classes with a curve of their own in the plots of calibration.
MAX_CURVES = len(CLASSES)


def escape(text: str) -> str:
    """Return a text as HTML, with its control characters as escapes."""
    return html.escape(escape_controls(text))


def draw_svg(title: str, draw: Callable[..., None], *data: Any) -> str:
    """Return the SVG element of a figure that `draw` draws on axes, its first argument, from data.

    Identifiers in the SVG are derived from the name of `draw`, which is distinct on the page. Screen readers
    read the title.
    """
    # The hash salt makes equal pages equal byte for byte.
    with mpl.rc_context(_STYLE | {"svg.hashsalt": draw.__name__}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph")  # the browser's fonts draw what matplotlib's lack
        figure = Figure(figsize=(5.2, 3.6), layout="constrained")
        buffer = io.StringIO()
        try:
            draw(figure.add_subplot(), *data)
            figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
        except Exception as error:  # numbers that matplotlib cannot place cost this picture, not the page
            return f"<p>This picture cannot be drawn: {escape(str(error))}.</p>"
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r"<!--.*?-->", "", text, flags=re.DOTALL)
    text = re.sub(r"<[^<>]*>", _style_tag, text)
    # The page sets the width; the view box has the proportions.
    text = re.sub(r' (width|height)="[\d.]+pt"', "", text, count=2)
    text = re.sub(r">\s+<", "><", text)
    return text.replace("<svg", f'<svg role="img" aria-label="{title}"', 1)


def _style_tag(tag: re.Match[str]) -> str:
    """Return a tag of an SVG with the page's font and colours; texts between tags may look like either."""
    text = re.sub(r"font: (?:\w+ )?([\d.]+)px [^;\"]*", r"font-size: \1px", tag[0])
    return re.sub("#0[1-9a]0[1-9a]0[1-9a]", lambda found: _COLOURS.get(found[0], found[0]), text)


def _format_label(label: object) -> str:
    """Return the name of a class for a legend, from which matplotlib leaves out what begins with "_"."""
    text = escape_controls(str(label))
    return f"\N{ZERO WIDTH SPACE}{text}" if text.startswith("_") else text


def _reduce_ticks(ax: Axes) -> None:
    """Label few places of both axes, with separators of thousands."""
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_locator(MaxNLocator(5))
        axis.set_major_formatter(StrMethodFormatter("{x:,g}"))


def draw_learning(ax: Axes, curves: Sequence[Sequence[float]], kept: Sequence[int]) -> None:
    """Draw every network's validation losses by epoch; `kept` epochs, from 0, are marked."""
    for curve, best in zip(curves, kept, strict=True):
        passes = np.arange(1, len(curve) + 1)
        ax.plot(passes, curve, color=ACCENT, alpha=max(0.25, 1 / len(curves)), linewidth=1.4)
        ax.plot([best + 1], [curve[best]], "o", color=SECOND)
    ax.set(xlabel="epoch", ylabel="validation loss")
    values = np.concatenate([np.asarray(curve) for curve in curves])
    finite = values[np.isfinite(values)]
    if finite.size and finite.min() > 0 and finite.max() > 4 * finite.min():
        ax.set_yscale("log")
        # Labels of powers of ten would be formulas, which this style draws as text.
        is_wide = finite.max() > 1000 * finite.min()
        ax.yaxis.set_major_locator(LogLocator(subs=(1.0,) if is_wide else (1.0, 2.0, 5.0)))
        ax.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        ax.minorticks_off()
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))


def draw_reliability(ax: Axes, truth: Array, P: Array, classes: Array) -> None:
    """Draw predicted probabilities against fractions that came true."""
    targets, shown, labels = truth, P, classes
    if len(classes) > MAX_CURVES:  # one curve: how often the predicted class is right
        best = P.argmax(axis=1)
        confidence = P[np.arange(len(P)), best]
        shown, labels = np.column_stack([1 - confidence, confidence]), np.array([0, 1])
        targets = (classes[best] == truth).astype(int)
    draw_calibration(targets, shown, labels, 10, ax)
    if (legend := ax.get_legend()) is not None:
        legend.remove()
    reference, *curves = ax.get_lines()
    reference.set(**REFERENCE)
    names, colours = list(labels[-len(curves) :]), CLASSES[: len(classes)][-len(curves) :]
    if len(classes) > MAX_CURVES:
        names, colours = ["the predicted class"], [ACCENT]
    for line, name, colour in zip(curves, names, colours, strict=True):
        line.set(color=colour, marker="o", label=_format_label(name))
    ax.set(xlim=(0, 1), ylim=(0, 1), xlabel="predicted probability", ylabel="fraction that came true")
    ax.xaxis.set_major_formatter(PercentFormatter(1.0, 0))
    ax.yaxis.set_major_formatter(PercentFormatter(1.0, 0))
    if len(curves) > 1:
        ax.legend(handles=curves, loc="upper left")


def draw_roc(ax: Axes, truth: Array, P: Array, classes: Array) -> None:
    """Draw the ROC curve of two classes."""
    false, true, _ = roc_curve(truth == classes[1], P[:, 1])
    if len(false) > MAX_POINTS // 4:
        places = np.linspace(0, len(false) - 1, MAX_POINTS // 4).astype(np.int64)
        false, true = false[places], true[places]
    ax.fill_between(false, true, color=ACCENT, alpha=0.12, linewidth=0)
    ax.plot(false, true, color=ACCENT)
    ax.plot([0, 1], [0, 1], **REFERENCE)
    ax.set(xlim=(0, 1), ylim=(0, 1.01))
    ax.set(xlabel="false positive rate (false alarms)", ylabel="recall (found)")
    ax.xaxis.set_major_formatter(PercentFormatter(1.0, 0))
    ax.yaxis.set_major_formatter(PercentFormatter(1.0, 0))


def draw_sureness(ax: Axes, truth: Array, P: Array, classes: Array) -> None:
    """Draw the probabilities predicted for the rows of two classes."""
    edges = np.linspace(0, 1, 21)
    for one, colour in zip(classes, CLASSES, strict=False):
        values = P[truth == one, 1]
        shares = np.histogram(np.clip(values, 0, 1), edges)[0] / max(1, len(values))
        ax.stairs(shares, edges, color=colour, linewidth=1.8)
        ax.stairs(shares, edges, color=colour, alpha=0.18, fill=True, label=_format_label(one))
    positive = escape_controls(str(classes[1]))
    ax.set(xlim=(0, 1), xlabel=f"predicted probability of {positive}", ylabel="fraction of the class")
    ax.xaxis.set_major_formatter(PercentFormatter(1.0, 0))
    ax.yaxis.set_major_formatter(PercentFormatter(1.0, 0))
    ax.legend(loc="upper center")


def draw_predicted(ax: Axes, truth: Array, values: Array) -> None:
    """Draw true against predicted numbers."""
    rows = np.random.RandomState(0).permutation(len(truth))[:MAX_POINTS]
    ax.plot(values[rows], truth[rows], "o", color=ACCENT, alpha=0.35, markersize=4, markeredgewidth=0)
    ends = [min(values.min(), truth.min()), max(values.max(), truth.max())]
    ax.plot(ends, ends, **REFERENCE)
    ax.set(xlabel="predicted", ylabel="true")
    _reduce_ticks(ax)


def draw_errors(ax: Axes, truth: Array, values: Array) -> None:
    """Draw true minus predicted numbers."""
    draw_residuals(truth, values, ax)
    _reduce_ticks(ax)
    for points in ax.collections:
        points.set(facecolor=ACCENT, edgecolor="none", alpha=0.35, sizes=[16])
    for line in ax.get_lines():
        line.set(**REFERENCE)


def draw_sparkline(heights: Sequence[float], title: str) -> str:
    """Return small bars of heights not below 0 as an SVG element with an escaped title."""
    if not len(heights) or max(heights) <= 0:
        return ""
    width, height = 120, 28  # pixels
    step = width / len(heights)
    bars = "".join(
        f'<rect x="{k * step:.1f}" y="{height * (1 - value / max(heights)):.1f}" width="{step * 0.85:.1f}" '
        f'height="{height * value / max(heights):.1f}"/>'
        for k, value in enumerate(heights)
    )
    return (
        f'<svg class="spark" role="img" aria-label="{title}" viewBox="0 0 {width} {height}" width="{width}" '
        f'height="{height}">{bars}</svg>'
    )
