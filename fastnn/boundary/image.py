"""The result of `render_boundary`: a picture's pixels and statistics, with methods to save and draw it."""

from __future__ import annotations

from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from ..network.description import Array
from .colours import check_colouring
from .sinks import save_pixels
from .sinks.base import Picture
from .sinks.png import PngCoding

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap

    from .colours import Colours, Markers

# Maximum number of pixels per side of the picture that a notebook displays.
SHOWN_PIXELS = 1024


@dataclass(frozen=True)
class RenderStats:
    """Statistics of a rendering: the method, counts of pixels, and seconds.

    Attributes
    ----------
    method : str
        "dense", "certified", or "certified, then dense" where bounds proved too little.
    points, points_evaluated, points_filled : int
        Pixels of the picture, at which the model was evaluated, and in squares in which one class provably
        wins.
    cells_bounded : int
        Squares whose scores were bounded in order to find such squares.
    n_threads : int
        Number of threads that painted; 0 if an executor did.
    seconds : dict of str to float
        Times in seconds: "bounding", "evaluating", "filling" and "writing", each summed over the threads, and
        "total", the elapsed time, which includes the compilation of kernels that were not in the cache.
    folded : str
        Transformers of a pipeline that were folded into the first layer of the network, such as
        "StandardScaler, PCA"; empty if there are none, or the whole pipeline predicted instead.
    reason : str
        Reason why pixels far from the boundary were evaluated, such as "the picture has few pixels"; empty
        for the method "certified".
    """

    method: str
    points: int
    points_evaluated: int
    points_filled: int
    cells_bounded: int
    n_threads: int
    seconds: dict[str, float] = field(default_factory=dict)
    folded: str = ""
    reason: str = ""


@dataclass(eq=False)
class BoundaryImage:
    """A picture of a decision boundary, made by `render_boundary` and displayed by notebooks.

    Attributes
    ----------
    data : array (height, width) or None
        Values at the pixels' centres, rows from the lower edge upward: indices into `classes`, or a
        response. None if the picture was written to a file.
    extent : (float, float, float, float)
        Left, right, bottom and top edge, as matplotlib's ``imshow`` takes them with ``origin="lower"``.
    classes : array (n_classes,) or None
        The classes; None for a response.
    stats : RenderStats
        How the picture was rendered, and how long it took.
    response : str
        Content of the pixels: the argument of `render_boundary`.
    path : pathlib.Path or None
        The file to which the picture was written.
    is_bounded : bool
        False for margins of a decision function, which may be above 1; other responses are from 0 to 1.
    colours, cmap
        Colours passed to `render_boundary`, or None; the defaults of `save` and `plot`.
    known_classes : array (n_classes,) or None
        The classes of the model, also for a response; None if they are not known.
    class_index : int
        Number, among them, of the class whose probability the pixels are.

    Examples
    --------
    >>> import fastnn
    >>> image = fastnn.render_boundary(lambda points: points[:, 0] > 0.5, (0, 1), (0, 1), size=4)
    >>> image.data[0], image.classes
    (array([0, 0, 1, 1], dtype=uint8), array([False,  True]))
    >>> image.extent
    (0.0, 1.0, 0.0, 1.0)
    """

    data: Array | None
    extent: tuple[float, float, float, float]
    classes: Array | None
    stats: RenderStats
    response: str = "class"
    path: Path | None = None
    is_bounded: bool = True
    colours: Colours | None = None
    cmap: str | Colormap | None = None
    known_classes: Array | None = None
    class_index: int = 0

    def save(
        self, path: str | PathLike[str], *, colours: Colours | None = None, cmap: str | Colormap | None = None
    ) -> None:
        """Write the picture to a file.

        Parameters
        ----------
        path : str or path
            The suffix chooses the format: ``.png``, ``.zarr``, or ``.dzi`` (a pyramid of tiles, and a page
            that shows it); see the Notes of `render_boundary`. A plot is saved by matplotlib, also as
            ``.svg`` or ``.pdf``: ``image.plot().figure.savefig("boundary.pdf")``.
        colours : sequence, mapping, str or Colormap, optional
            Colours of the classes, as `render_boundary` takes them; by default the image's own.
        cmap : str or Colormap, optional
            Colormap of a response; by default the image's own.

        Raises
        ------
        ValueError
            For an unknown suffix, a folder that does not exist, a picture that is in a file already,
            invalid colours, a wrong number of colours, colours for a format that stores none, and margins of
            a decision function in a format that holds numbers from 0 to 1.
        ImportError
            For ``.zarr`` without zarr. The message says how to install it.
        """
        data = self._pixels("save it")
        check_colouring(self.response, colours, cmap)
        if self.classes is None and colours is not None:
            raise ValueError("colours work only with classes, but the picture holds a response: use cmap=")
        save_pixels(data, path, self._picture(data, colours, cmap))

    def plot(
        self,
        ax: Axes | None = None,
        X: ArrayLike | None = None,
        y: ArrayLike | None = None,
        *,
        colours: Colours | None = None,
        cmap: str | Colormap | None = None,
        markers: Markers | None = None,
    ) -> Axes:
        """Draw the picture with matplotlib.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            Axes to draw on; by default a new figure's.
        X : array-like (n, 2), optional
            Samples to draw over the picture.
        y : array-like (n,), optional
            Classes of the samples.
        colours : sequence, mapping, str or Colormap, optional
            Colours of the classes, as `render_boundary` takes them; by default the image's own. Samples have
            these colours, regions paler ones. A sequence follows the sorted order of all labels where y has
            others than `classes`.
        cmap : str or Colormap, optional
            Colormap of a response; by default the image's own, else `plot_decision_boundary`'s default.
        markers : sequence, mapping or str, optional
            Markers of the samples, as `plot_decision_boundary` takes them; by default dots.

        Returns
        -------
        matplotlib Axes

        Raises
        ------
        ValueError
            For a picture that is in a file, X without y or y without X, labels of another kind than the
            model's, invalid colours or markers, and a wrong number of them.
        TypeError
            If `ax` is anything but rectilinear axes.
        """
        from .drawing import draw_picture  # which imports this module

        self._pixels("draw it")
        check_colouring(self.response, colours, cmap, markers)
        colours, cmap = self._choose_look(colours, cmap)
        return draw_picture(self, ax, X, y, colours=colours, cmap=cmap, markers=markers)

    def _choose_look(self, colours: Colours | None, cmap: str | Colormap | None) -> tuple[Any, Any]:
        return self.colours if colours is None else colours, self.cmap if cmap is None else cmap

    def _repr_png_(self) -> bytes | None:
        """Return a PNG of at most 1024 pixels a side, in the colours of a saved file, if there is `data`."""
        if self.data is None:
            return None
        stride = -(-max(self.data.shape) // SHOWN_PIXELS)
        pixels = self.data[::-stride, ::stride] if stride > 1 else self.data[::-1]
        if self.classes is not None:
            pixels = pixels.astype(np.min_scalar_type(len(self.classes) - 1))
        elif not self.is_bounded:
            least = np.finfo(pixels.dtype).smallest_normal
            pixels = pixels / pixels.max(initial=least, where=np.isfinite(pixels))
        return PngCoding(self._picture(pixels), grey_bits=16).file(np.ascontiguousarray(pixels))

    def _picture(
        self, pixels: Array, colours: Colours | None = None, cmap: str | Colormap | None = None
    ) -> Picture:
        # Class numbers in a wider array of the user's are written as the least dtype that holds them.
        dtype = pixels.dtype if self.classes is None else np.min_scalar_type(len(self.classes) - 1)
        is_chosen, (height, width) = colours is not None or cmap is not None, pixels.shape
        colours, cmap = self._choose_look(colours, cmap)
        shape = width, height, dtype, self.extent
        return Picture(*shape, self.classes, self.is_bounded, colours, cmap, is_chosen)

    def _pixels(self, purpose: str) -> Array:
        if self.data is None:
            raise ValueError(f"the picture is in {self.path}: render it without out= to {purpose}")
        return self.data

    def __repr__(self) -> str:
        stats = self.stats
        where = f", path={str(self.path)!r}" if self.path else ""
        size = "" if self.data is None else f"{self.data.shape[1]} x {self.data.shape[0]}, "
        return f"BoundaryImage({size}{stats.method}, {stats.seconds['total']:.3g} s{where})"
