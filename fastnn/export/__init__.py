"""Exports of trained networks to other systems: ONNX, scikit-learn, PyTorch and C.

Models, estimators and ensembles have the methods `to_onnx`, `to_sklearn`, `to_torch` and `to_c`
(``fastnn/export/methods.py``). `register_skl2onnx` makes skl2onnx convert pipelines that hold fastnn's
estimators.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .skl2onnx import register_skl2onnx as register_skl2onnx

__all__ = ["register_skl2onnx"]


def __getattr__(name: str) -> Any:
    # Every model imports this package: exporters are loaded when they are used.
    if name == "register_skl2onnx":
        from .skl2onnx import register_skl2onnx

        return register_skl2onnx
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
