"""Exports of trained networks to other systems: ONNX, scikit-learn, PyTorch and C.

Models, estimators and ensembles have the methods `to_onnx`, `to_sklearn`, `to_torch` and `to_c`
(``fastnn/export/methods.py``). `register_skl2onnx` makes skl2onnx convert pipelines that hold fastnn's
estimators.
"""

__all__ = ["register_skl2onnx"]


def register_skl2onnx() -> None:
    """Register fastnn's estimators and ensembles with skl2onnx, for pipelines and searches that hold them.

    After the call, ``skl2onnx.to_onnx(pipeline, X)`` converts pipelines with an `MLPClassifier`,
    `MLPRegressor`, `MLPEnsembleClassifier` or `MLPEnsembleRegressor`, or with a class derived from one of
    them, whenever that class is defined. A single estimator needs no registration: it has the method
    `to_onnx`.

    Raises
    ------
    ImportError
        If skl2onnx is not installed; the message says how to install it.

    Notes
    -----
    Networks compute in the dtype of their fit. Probabilities and numbers have the dtype of the samples given
    to ``skl2onnx.to_onnx``. The options "zipmap", "output_class_labels" and "nocl" work as for
    scikit-learn's classifiers. With "zipmap", skl2onnx's default, classes that are booleans or floats become
    integers, and maps hold probabilities in float32, as ONNX's ZipMap requires.

    Examples
    --------
    >>> import fastnn
    >>> fastnn.export.register_skl2onnx()  # doctest: +SKIP
    >>> onnx_model = skl2onnx.to_onnx(pipeline, X[:1], options={"zipmap": False})  # doctest: +SKIP
    """
    from .skl2onnx import register  # every model imports this package: load exporters when they are used

    register()
