"""The view of the two moons that tests of pictures share, and its pixels."""

import numpy as np
from extras import optional

import fastnn
from fastnn.boundary.render import render_boundary
from fastnn.boundary.view import centres as pixel_centres
from fastnn.play.datasets import moons

X, y = moons(200, 0.2, 0)
XLIM, YLIM = (-1.5, 2.5), (-1.0, 1.5)
datasets = optional("sklearn.datasets")
iris, species = datasets.load_iris(return_X_y=True) if datasets else (np.zeros((1, 4)), np.zeros(1, int))


def along(limits, count):
    return pixel_centres(limits, count).points(0, count)


def centres(width, height, xlim=XLIM, ylim=YLIM):
    """Return the centres (width * height, 2) of a picture's pixels."""
    x, y = along(xlim, width), along(ylim, height)
    return np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)


def picture(model, size=(80, 50), **options):
    return render_boundary(model, XLIM, YLIM, size, **options).data


def labels(image):
    return image.classes[image.data]


def make_classifier(**options):
    return fastnn.MLPClassifier((8,), max_iter=60, random_state=0, early_stopping=True, **options)
