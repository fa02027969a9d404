"""Preprocessing of tables for networks: transformers with scikit-learn's interface.

`TableEncoder` (encoder.py) encodes a whole table. `SmoothRobustScaler` (scaling.py), `PiecewiseLinearEncoder`
(piecewise.py) and `DateEncoder` (dates.py) are its parts that scikit-learn does not have. The fitted state of
each consists of arrays, numbers and text.
"""
