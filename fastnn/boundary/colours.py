"""Colours and markers of classes, and colours of responses: the defaults, and users' choices."""

from __future__ import annotations

import reprlib
from typing import Any

import numpy as np
from matplotlib import color_sequences, colormaps
from matplotlib.colors import Colormap, ListedColormap, to_rgb, to_rgba
from matplotlib.markers import MarkerStyle
from numpy.typing import NDArray

__all__ = [
    "CLASS_COLOURS",
    "CLASS_MARKERS",
    "OUTLINE",
    "PALETTE",
    "REGION_STRENGTH",
    "check_colouring",
    "chosen_colours",
    "chosen_markers",
    "class_colours",
    "pale",
    "region_colours",
    "response_colormap",
    "response_colours",
]

Array = NDArray[Any]

# Colours of up to ten classes in every picture, also on the playground's page and in reports, whose style
# sheets repeat them. The first two are matplotlib's "C0" and "C1". Any two of the first six differ by at
# least 20 (CIEDE2000), also to readers without green cones (deuteranopia).
CLASS_COLOURS = (
    "#1f77b4", "#ff7f0e", "#50ba94", "#992b62", "#dba9f9",
    "#70601a", "#f0475f", "#efd98a", "#3a2bbf", "#c63ae8",
)  # fmt: skip
# Markers of classes where they differ; the page draws the same shapes.
CLASS_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*", "p", "h")
# Colour of the outlines of samples, which differs from regions as from the colours of classes.
OUTLINE = "#16202c"
# Fraction of a class's colour in the colour of its region in a plot; the rest is white. Samples have the
# unmixed colour.
REGION_STRENGTH = 0.35
# Fraction of a class's default colour in the colour of its region in a file, which has no samples.
FILE_STRENGTH = 0.7
# Default colormap of a response: grey differs from the colours of classes.
RESPONSE_COLOURS = "gray"
# Maximum number of colours of a palette in a file.
PALETTE = 256
# A colormap of at least this many entries counts as continuous, even if it is a list of colours, as viridis
# is.
CONTINUOUS = 256


def check_colouring(response: str, colours: Any = None, cmap: Any = None, markers: Any = None) -> None:
    """Raise ValueError for invalid colours or markers, and for a response's colormap in a picture of classes.

    Parameters
    ----------
    response : str
        Content of the pixels; an argument of `render_boundary`.
    colours, cmap : optional
        Arguments of `render_boundary`. `chosen_colours` checks the number of colours.
    markers : optional
        Argument of `plot_decision_boundary`. `chosen_markers` checks the number of markers.

    Raises
    ------
    ValueError
        For invalid colours or markers or an invalid colormap, and for `cmap` if `response` is "class".
    """
    if colours is not None:
        _colormap_or_entries(colours)
    if cmap is not None:
        response_colormap(cmap)
        if response == "class":
            raise ValueError(
                "cmap is the colormap of a response, and response is 'class': choose the colours of classes "
                "with colours=, which takes the name of a colormap as well"
            )
    _marker_entries(markers)


def class_colours(count: int) -> NDArray[np.float64]:
    """Return `count` colours (count, 3) that distinguish classes: `CLASS_COLOURS` if there are enough."""
    if count <= len(CLASS_COLOURS):
        return np.array([to_rgb(colour) for colour in CLASS_COLOURS[:count]]).reshape(-1, 3)
    return colormaps["turbo"](np.linspace(0.05, 0.95, count))[:, :3]


def chosen_colours(classes: Array, colours: Any = None) -> NDArray[np.float64]:
    """Return the colours of classes.

    Parameters
    ----------
    classes : array (n_classes,)
        Labels.
    colours : sequence, mapping, str or Colormap, optional
        One colour per class in the order of `classes`; a mapping of labels to colours, which may have more
        labels; or a colormap. A qualitative colormap gives its colours in order, any other one evenly spaced
        colours from end to end. By default the colours of `class_colours`.

    Returns
    -------
    array (n_classes, 3)
        Red, green and blue, from 0 to 1.

    Raises
    ------
    ValueError
        For an invalid colour, a wrong number of colours, a class that is not in the mapping, and an unknown
        name.
    """
    labels = classes.tolist()
    if colours is None:
        return class_colours(len(labels))
    found = _colormap_or_entries(colours)
    if not isinstance(found, dict):
        return _spread(found, len(labels))
    return np.array(_by_class(labels, found, hasattr(colours, "keys"), "colours"), np.float64).reshape(-1, 3)


def chosen_markers(classes: Array, markers: Any = None) -> list[Any]:
    """Return the markers of classes.

    Parameters
    ----------
    classes : array (n_classes,)
        Labels.
    markers : sequence, mapping or str, optional
        One marker per class in the order of `classes`; a mapping of labels to markers, which may have more
        labels; or "auto", for those of `CLASS_MARKERS`. By default dots.

    Raises
    ------
    ValueError
        For an invalid marker, a wrong number of markers, and a class that is not in the mapping.
    """
    labels, found = classes.tolist(), _marker_entries(markers)
    if markers is None:
        return ["o"] * len(labels)
    if found is None:
        return [CLASS_MARKERS[k % len(CLASS_MARKERS)] for k in range(len(labels))]
    return _by_class(labels, found, hasattr(markers, "keys"), "markers")


def _marker_entries(markers: Any) -> dict[Any, Any] | None:
    """Return markers by label or by position; None for the default, dots, and for "auto"."""
    if markers is None or (isinstance(markers, str) and markers == "auto"):
        return None
    found = _entries(markers)
    if found is None:
        raise ValueError(
            "markers must be a sequence with one marker per class, such as ['o', 's'], a mapping from "
            f"classes to markers, or 'auto', got {markers!r}"
        )
    for key, marker in found.items():
        try:
            is_filled = MarkerStyle(marker).is_filled()
        except (ValueError, TypeError):
            is_filled = False
        if not is_filled:
            raise ValueError(
                f"markers[{key!r}] must be one of matplotlib's filled markers, such as 'o', 's' or '^', got "
                f"{marker!r}"
            )
    return found


def _by_class(labels: list[Any], found: dict[Any, Any], is_mapping: bool, name: str) -> list[Any]:
    """Return a value for each label, from values by label or by position; error messages show `name`."""
    if is_mapping:
        missing = [label for label in labels if label not in found]
        if missing:
            raise ValueError(f"{name} must have one for every class, but have none for {missing[0]!r}")
        return [found[label] for label in labels]
    if len(found) != len(labels):
        raise ValueError(
            f"{name} must be as many as there are classes, {len(labels)} ({reprlib.repr(labels)}), "
            f"got {len(found)}"
        )
    return list(found.values())


def region_colours(classes: Array, colours: Any = None) -> NDArray[np.uint8]:
    """Return the colours of regions in a file.

    Parameters
    ----------
    classes, colours
        Arguments of `chosen_colours`, which raises the same errors.

    Returns
    -------
    array (n_classes, 3) of uint8
        Red, green and blue: exactly `colours`; by default the colours of `class_colours`, mixed with white.
    """
    found = chosen_colours(classes, colours)
    return ((pale(found, FILE_STRENGTH) if colours is None else found) * 255).round().astype(np.uint8)


def pale(colours: Array, strength: float | Array = REGION_STRENGTH) -> NDArray[np.float64]:
    """Return colours mixed with white; `strength`, a number or array (n_colours, 1), is their fraction."""
    return strength * colours + (1 - strength)


def response_colormap(cmap: Any = None) -> Colormap:
    """Return the colormap of responses, given the colormap, its name, or None for the default, grey."""
    try:
        return colormaps.get_cmap(RESPONSE_COLOURS if cmap is None else cmap)
    except (ValueError, TypeError):
        raise ValueError(
            "cmap must be a Colormap or the name of one of matplotlib's, such as 'viridis' or 'RdBu', got "
            f"{cmap!r}"
        ) from None


def response_colours(cmap: Any) -> NDArray[np.uint8]:
    """Return at most 256 colours (n, 3) of a response from 0 to 1; components are from 0 to 255.

    Transparent colours are mixed with white, the background of matplotlib's default axes.
    """
    found = response_colormap(cmap)
    if found.N > PALETTE:
        found = found.resampled(PALETTE)
    colours = found(np.arange(found.N))
    return (pale(colours[:, :3], colours[:, 3:]) * 255).round().astype(np.uint8)


def _colormap_or_entries(colours: Any) -> Colormap | dict[Any, tuple[float, ...]]:
    """Return the argument `colours` of `render_boundary` as a colormap or as a dict of colours.

    The keys of the dict are those of a mapping or the positions in a sequence; its values are (red, green,
    blue).
    """
    if isinstance(colours, Colormap):
        return colours
    if isinstance(colours, str):
        if colours in colormaps:
            return colormaps[colours]
        if colours in color_sequences:
            return ListedColormap(color_sequences[colours])
        raise ValueError(
            "colours must be a sequence with one colour per class, such as ['tab:blue', '#ff7f0e'], a "
            "mapping from classes to colours, or the name of a colormap, such as 'Set2' or 'viridis', got "
            f"{colours!r}"
        )
    entries = _entries(colours)
    if entries is None:
        raise ValueError(
            "colours must be a sequence with one colour per class, a mapping from classes to colours, or a "
            f"colormap, got {colours!r}"
        )
    return {key: _colour(value, f"colours[{key!r}]") for key, value in entries.items()}


def _entries(given: Any) -> dict[Any, Any] | None:
    """Return the values of a mapping by key, or of a sequence by position; None for anything else."""
    try:
        keys = list(given.keys()) if hasattr(given, "keys") else range(len(given))
        return {key: given[key] for key in keys}
    except (TypeError, LookupError):
        return None


def _colour(value: Any, name: str) -> tuple[float, ...]:
    """Return (red, green, blue) of a colour in any of matplotlib's notations; error messages show `name`."""
    try:
        *colour, opacity = to_rgba(value)
    except (ValueError, TypeError):
        colour, opacity = [np.nan], 0.0
    # Files have no transparency, the colour "none" would become black, and matplotlib accepts NaN: raise
    # ValueError for all three.
    if opacity != 1 or not np.isfinite(colour).all():
        raise ValueError(
            f"{name} must be an opaque colour as matplotlib takes it, such as 'tab:blue', '#1f77b4' or "
            f"(0.1, 0.5, 0.7), got {value!r}"
        )
    return tuple(colour)


def _spread(colormap: Colormap, count: int) -> NDArray[np.float64]:
    """Return `count` opaque colours (count, 3) of a colormap."""
    if isinstance(colormap, ListedColormap) and colormap.N < CONTINUOUS:
        if count > colormap.N:
            raise ValueError(
                f"colours: {colormap.name!r} has {colormap.N} colours, but there are {count} classes: choose "
                "a continuous colormap, such as 'turbo', or give a list"
            )
        colours = colormap(np.arange(count))
    else:
        colours = colormap(np.linspace(0, 1, count))
    return pale(colours[:, :3], colours[:, 3:])
