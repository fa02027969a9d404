"""Colours and markers of classes, and colours of responses: the defaults, and users' choices."""

from __future__ import annotations

import reprlib
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..network.description import Array

if TYPE_CHECKING:  # classes in their default colours are drawn without matplotlib
    from collections.abc import Mapping, Sequence

    from matplotlib.colors import Colormap
    from matplotlib.typing import ColorType, MarkerType

    # Colours and markers of classes: in their order, by label, or by a name.
    Colours = Sequence[ColorType] | Mapping[Any, ColorType] | str | Colormap
    Markers = Sequence[MarkerType] | Mapping[Any, MarkerType] | str

# Colours of up to twenty classes in every picture; the style sheets of the playground's page and of reports
# repeat the first. The first two are matplotlib's "C0" and "C1". Any two differ by at least 19 (CIEDE2000),
# any two of the first six by at least 20, also to readers without green cones (deuteranopia).
CLASS_COLOURS = (
    "#1f77b4",
    "#ff7f0e",
    "#50ba94",
    "#992b62",
    "#dba9f9",
    "#70601a",
    "#f0475f",
    "#efd98a",
    "#3a2bbf",
    "#c63ae8",
    "#82d4f5",
    "#0f6151",
    "#82300f",
    "#72f50f",
    "#929292",
    "#f5b3b3",
    "#61920f",
    "#616172",
    "#b3920f",
    "#a37251",
)
# Markers of classes where they differ; the page draws the same shapes.
CLASS_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*", "p", "h")
# Colour of the outlines of samples, which differs from regions as from the colours of classes.
OUTLINE = "#16202c"
# Fraction of a class's colour in its region in a plot; the rest is white. Samples have the unmixed colour.
REGION_STRENGTH = 0.35
# Fraction of a class's default colour in the colour of its region in a file, which has no samples.
FILE_STRENGTH = 0.7
# Default colormap of a response. Grey differs from the colours of classes.
RESPONSE_COLOURS = "gray"
# Maximum number of colours of a palette in a file.
PALETTE = 256
# A colormap of this many entries or more counts as continuous, even a list of colours, as viridis.
CONTINUOUS = 256


def check_colouring(
    response: str,
    colours: Colours | None = None,
    cmap: str | Colormap | None = None,
    markers: Markers | None = None,
    classes: Array | None = None,
) -> None:
    """Raise ValueError for invalid colours, markers or colormaps, and numbers unlike the known `classes`."""
    if colours is not None and classes is not None:
        choose_colours(classes, colours)
    elif colours is not None:
        _read_colours(colours)
    if cmap is not None:
        response_colormap(cmap)
        if response == "class":
            raise ValueError(
                "cmap is the colormap of a response, and response is 'class': choose the colours of classes "
                "with colours=, which takes the name of a colormap as well"
            )
    _read_markers(markers)


def class_colours(count: int) -> NDArray[np.float64]:
    """Return `count` colours (count, 3) that distinguish classes: `CLASS_COLOURS` if there are enough."""
    if count <= len(CLASS_COLOURS):
        components = bytes.fromhex("".join(CLASS_COLOURS[:count]).replace("#", ""))
        return np.frombuffer(components, np.uint8).reshape(-1, 3) / 255
    from matplotlib import colormaps

    return colormaps["turbo"](np.linspace(0.05, 0.95, count))[:, :3]


def choose_colours(classes: Array, colours: Colours | None = None) -> NDArray[np.float64]:
    """Return the colours (n_classes, 3) of classes, from 0 to 1; `colours` is as in `render_boundary`."""
    labels = classes.tolist()
    if colours is None:
        return class_colours(len(labels))
    found = _read_colours(colours)
    if not isinstance(found, dict):
        return _sample_colormap(found, len(labels))
    return np.array(_match(labels, found, hasattr(colours, "keys"), "colours"), np.float64).reshape(-1, 3)


def choose_markers(classes: Array, markers: Markers | None = None) -> list[Any]:
    """Return the markers of classes; `markers` is as in `plot_decision_boundary`."""
    labels, found = classes.tolist(), _read_markers(markers)
    if markers is None:
        return ["o"] * len(labels)
    if found is None:
        return [CLASS_MARKERS[k % len(CLASS_MARKERS)] for k in range(len(labels))]
    return _match(labels, found, hasattr(markers, "keys"), "markers")


def _read_markers(markers: Markers | None) -> dict[Any, Any] | None:
    """Return markers by label or by position; None for the default, dots, and for "auto"."""
    if markers is None or (isinstance(markers, str) and markers == "auto"):
        return None
    found = _list_entries(markers)
    if found is None:
        raise ValueError(
            "markers must be a sequence with one marker per class, such as ['o', 's'], a mapping from "
            f"classes to markers, or 'auto', got {markers!r}"
        )
    from matplotlib.markers import MarkerStyle

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


def _match(labels: list[Any], found: dict[Any, Any], is_mapping: bool, name: str) -> list[Any]:
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


def region_colours(classes: Array, colours: Colours | None = None) -> NDArray[np.uint8]:
    """Return the colours (n_classes, 3) of regions in a file, integers from 0 to 255, by default pale."""
    found = choose_colours(classes, colours)
    return ((lighten(found, FILE_STRENGTH) if colours is None else found) * 255).round().astype(np.uint8)


def lighten(colours: Array, strength: float | Array = REGION_STRENGTH) -> NDArray[np.float64]:
    """Return colours mixed with white; `strength`, a number or array (n_colours, 1), is their fraction."""
    return strength * colours + (1 - strength)


def response_colormap(cmap: str | Colormap | None = None) -> Colormap:
    """Return the colormap of responses, given the colormap, its name, or None for the default, grey."""
    from matplotlib import colormaps

    try:
        return colormaps.get_cmap(RESPONSE_COLOURS if cmap is None else cmap)
    except (ValueError, TypeError):
        raise ValueError(
            f"cmap must be a Colormap or the name of one of matplotlib's, such as 'viridis', got {cmap!r}"
        ) from None


def probability_colormap(shades: Array, place: int) -> Colormap:
    """Return a class's colormap, from the other of two classes, or from white, to the class's colour."""
    from matplotlib.colors import LinearSegmentedColormap

    others = shades[1 - place] if len(shades) == 2 else np.ones(3)
    ends = lighten(np.stack([others, np.ones(3), shades[place]]), FILE_STRENGTH)
    return LinearSegmentedColormap.from_list("probability", ends.tolist())


def response_colours(cmap: str | Colormap | None) -> NDArray[np.uint8]:
    """Return at most 256 colours (n, 3) of a response, integers to 255; transparent ones are on white."""
    found = response_colormap(cmap)
    if found.N > PALETTE:
        found = found.resampled(PALETTE)
    colours = found(np.arange(found.N))
    return (lighten(colours[:, :3], colours[:, 3:]) * 255).round().astype(np.uint8)


def _read_colours(colours: Colours) -> Colormap | dict[Any, tuple[float, ...]]:
    """Return `colours` of `render_boundary` as a colormap, or as (red, green, blue) by key or position."""
    from matplotlib import color_sequences, colormaps
    from matplotlib.colors import Colormap, ListedColormap

    if isinstance(colours, Colormap):
        return colours
    if isinstance(colours, str):
        if colours in colormaps:
            return colormaps[colours]
        if colours in color_sequences:
            return ListedColormap(color_sequences[colours])
    entries = None if isinstance(colours, str) else _list_entries(colours)
    if entries is None:
        raise ValueError(
            "colours must be a sequence with one colour per class, such as ['tab:blue', '#ff7f0e'], a "
            "mapping from classes to colours, a colormap, or the name of a colormap, such as 'Set2' or "
            f"'viridis', got {colours!r}"
        )
    return {key: _parse_colour(value, f"colours[{key!r}]") for key, value in entries.items()}


def _list_entries(given: Any) -> dict[Any, Any] | None:
    """Return the values of a mapping by key, or of a sequence by position; None for anything else."""
    try:
        keys = list(given.keys()) if hasattr(given, "keys") else range(len(given))
        return {key: given[key] for key in keys}
    except (TypeError, LookupError):
        return None


def _parse_colour(value: Any, name: str) -> tuple[float, ...]:
    """Return (red, green, blue) of a colour in any of matplotlib's notations; error messages show `name`."""
    from matplotlib.colors import to_rgba

    try:
        *colour, opacity = to_rgba(value)
    except (ValueError, TypeError):
        colour, opacity = [np.nan], 0.0
    # Files have no transparency, the colour "none" would be black, and matplotlib accepts NaN.
    if opacity != 1 or not np.isfinite(colour).all():
        raise ValueError(
            f"{name} must be an opaque colour as matplotlib takes it, such as 'tab:blue', '#1f77b4' or "
            f"(0.1, 0.5, 0.7), got {value!r}"
        )
    return tuple(colour)


def _sample_colormap(colormap: Colormap, count: int) -> NDArray[np.float64]:
    """Return `count` opaque colours (count, 3) of a colormap."""
    from matplotlib.colors import ListedColormap

    if isinstance(colormap, ListedColormap) and colormap.N < CONTINUOUS:
        if count > colormap.N:
            raise ValueError(
                f"colours: {colormap.name!r} has {colormap.N} colours, but there are {count} classes: choose "
                "a continuous colormap, such as 'turbo', or give a list"
            )
        colours = colormap(np.arange(count))
    else:
        colours = colormap(np.linspace(0, 1, count))
    return lighten(colours[:, :3], colours[:, 3:])
