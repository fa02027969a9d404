"""Rendering of decision boundaries: from a model to a picture of any size.

A *subject* decides the class of a point (``subjects.py``), a *painter* computes the pixels of rectangles
(``painters.py``), and a *sink* divides the picture into rectangles and writes their pixels to an array or a
file (``sinks/``).
"""

from __future__ import annotations

from concurrent.futures import Executor
from typing import TYPE_CHECKING, Any

from numpy.typing import ArrayLike

from .canvas import paint_picture
from .colours import check_colouring
from .image import BoundaryImage
from .painters import make_painter
from .sinks import Destination
from .subjects import Features, Fill, make_subject
from .view import make_view

if TYPE_CHECKING:
    from matplotlib.colors import Colormap

    from .colours import Colours


def render_boundary(
    model: Any,
    xlim: tuple[float, float],
    ylim: tuple[float, float],
    size: int | tuple[int, int] = 1024,
    *,
    response: str = "class",
    method: str = "auto",
    class_of_interest: Any = None,
    features: Features | None = None,
    fill: Fill | None = None,
    classes: ArrayLike | None = None,
    n_threads: int | None = None,
    executor: Executor | None = None,
    progress: bool = False,
    out: Destination = None,
    colours: Colours | None = None,
    cmap: str | Colormap | None = None,
) -> BoundaryImage:
    """Render which class a model decides for, at every pixel of a rectangle.

    Parameters
    ----------
    model : Model, estimator, ensemble or callable
        A `Model` with a loss of classes, one of fastnn's classifiers, any classifier with scikit-learn's
        methods, or a function that takes an (n, n_features) array and returns a class for every row. Models
        of other libraries predict some 65,000 points at a time. A pipeline or fitted search of scikit-learn
        that ends in one of fastnn's classifiers is painted like that classifier, if the transformers before
        it are affine, such as scalers, `PCA` and selections of columns: see ``stats``.
    xlim, ylim : (float, float)
        Edges of the picture.
    size : int or (int, int), default 1024
        Pixels: (width, height), or the longer side alone. The shorter side is then in proportion, so that
        pixels are square, but at least an eighth of the longer one: sides whose lengths differ by more have
        different units.
    response : {"class", "probability", "confidence", "margin"}, default "class"
        Content of the pixels: the number of the predicted class; the probability of one class; the
        probability of the predicted class; or its difference from the second highest. The probability of an
        ensemble is the members' mean. For a model that has `decision_function` and no
        `predict_proba`, such as scikit-learn's SVC, the margin is the difference between the two highest
        scores, or with two classes the distance of the score from 0; it may be above 1.
    method : {"auto", "dense", "certified"}, default "auto"
        "dense" evaluates every pixel. "certified" divides the picture into squares, proves by bounds that one
        class wins all over a square, fills it, and evaluates only the pixels that remain along the boundary:
        the same picture, bit for bit, at a cost that grows with the boundary's length. "auto" does so for
        classes, networks of fastnn that the kernels evaluate and large pictures, and changes to "dense" where
        the bounds prove too little; ``stats.reason`` says why it did not.
    class_of_interest : label, optional
        Class whose probability is rendered; by default the second of two. For a model of several labels,
        each of which a sample has or has not: the number of the label to render. An error with other
        responses of a model without labels, since it would have no effect.
    features : (int, int) or (str, str), optional
        Features along x and y, by number or, where the model knows names, by name. By default the first two.
    fill : float, array-like (n_features,), or mapping of names, optional
        Values of the other features; required if the model has more than two. The names of a pandas Series
        count where the model knows names.
    classes : array-like, optional
        Classes of a function, or of a model without `classes_`; they are numbered in sorted order. By default
        the classes that are predicted. These are not known in time for `out`, which requires the argument.
    n_threads : int, optional
        Threads that paint and encode; all available cores by default. A model of another library is called
        from one thread.
    executor : concurrent.futures.Executor, optional
        Processes that paint a ``.zarr`` in place of threads and see the same file system, such as the workers
        of a Dask cluster, ``client.get_executor()``. A task writes a shard, up to 65,536 pixels to a side.
    progress : bool, default False
        Show a progress bar.
    out : array, str or path, optional
        Destination: an array or a ``numpy.memmap`` (height, width) that can hold the values; or a file, which
        is written during painting, in bounded memory: ``.png``, ``.zarr``, or ``.dzi``, a pyramid of tiles
        with a page that shows it in a browser; see Notes.
    colours : sequence, mapping, str or Colormap, optional
        Colours of the classes, each as matplotlib takes it, and opaque: one per class in the order of
        `classes`; a mapping of labels to colours, which may have more labels; or a colormap or its name, of
        which a qualitative one, as "Set2", gives its colours in order, and another, as "viridis", evenly
        spaced ones from end to end. Files have exactly these colours, and `BoundaryImage.plot` paler ones
        under samples. By default twenty colours, of which the first six differ to colour-blind readers too,
        or "turbo" for more classes, paler in files too. Without known classes, the number
        of colours is checked when the picture is saved or drawn.
    cmap : str or Colormap, optional
        Colormap of a response, or its name: 0 has its first colour and 1 its last. In files, it is for
        ``.png`` and ``.dzi``. By default a response is grey.

    Returns
    -------
    BoundaryImage

    Raises
    ------
    ValueError
        For empty or reversed limits, a size below 1 or of more pixels than can be written within days, a
        regression model, arguments that do not go together, unknown features, an `out` that does not fit,
        invalid colours, a wrong number of colours, and colours for a format that stores none.
    TypeError
        For a model that cannot predict, as when the arguments are in another order, and for an executor of
        another kind.
    MemoryError
        At once, for a picture that does not fit into the free memory.
    ImportError
        For ``.zarr`` without zarr. The message says how to install it.
    KeyboardInterrupt
        Within a fraction of a second of Ctrl-C, and the seconds that it takes to delete the tiles of a large
        pyramid; no half-written file is left.

    Notes
    -----
    A file is moved to its name when it is complete, and replaces an older picture of the same name. A process
    that is killed leaves a hidden folder, `.fastnn-...`, beside the file, with all that was not moved yet.

    The first row of an image file is the highest one; a Zarr array has the row order of `data`. Classes
    have a colour each, up to 256 of them. A response is grey, in ``.png`` with 16 bits, 0 for 0 and 65535 for
    1, or with `cmap` in up to 256 colours. ``.zarr`` holds it as floats; it is the only format for margins of
    a decision function, which may be above 1. Beside ``NAME.dzi`` stand the tiles, ``NAME_files``, and the
    page, ``NAME.html``; an address that ends in ``#x=0.5&y=1&zoom=8`` opens the page there. Pillow opens more
    than 178 million pixels after ``PIL.Image.MAX_IMAGE_PIXELS = None``.

    Examples
    --------
    >>> import fastnn
    >>> from sklearn.datasets import make_moons
    >>> X, y = make_moons(200, noise=0.20, random_state=0)
    >>> model = fastnn.Model([2, 3, 2], random_state=0)
    >>> history = model.train(X, y, num_passes=2000)
    >>> image = fastnn.render_boundary(model, (-2, 3), (-1.5, 2), size=(400, 300))
    >>> image.data.shape, image.data.dtype, image.classes.tolist()
    ((300, 400), dtype('uint8'), [0, 1])
    >>> image.stats.method, image.stats.points_evaluated
    ('dense', 120000)
    """
    call = "render_boundary(model, xlim, ylim)"
    subject = make_subject(model, call, features, fill, class_of_interest, classes)
    view = make_view(xlim, ylim, size)
    painter = make_painter(subject, response, method, class_of_interest, view.n_pixels)
    check_colouring(response, colours, cmap, classes=None if painter.finds_classes else painter.classes)
    return paint_picture(painter, view, n_threads, executor, progress, out, colours, cmap)
