"""The style of the gallery's figures, the same as of the other pages: ``docs/matplotlibrc``."""

from pathlib import Path

import matplotlib as mpl


def reset(gallery_conf, name):
    """Reset matplotlib's settings before an example of the gallery, as sphinx-gallery asks for."""
    mpl.use("agg")
    mpl.rc_file(Path(__file__).parents[1] / "matplotlibrc")
