"""Preprocessing of tables for networks: transformers with scikit-learn's interface.

`TableEncoder` (encoder.py) encodes a whole table. `SmoothRobustScaler`, `PiecewiseLinearEncoder`
(transformers.py) and `DateEncoder` (dates.py) are its parts that scikit-learn does not have. Their fitted
state consists of arrays, numbers and text.
"""
