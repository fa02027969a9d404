"""Preprocessing of tables for networks: transformers with scikit-learn's interface.

`TableEncoder` encodes a whole table. `SmoothRobustScaler`, `PiecewiseLinearEncoder` and `DateEncoder` are its
parts that scikit-learn does not have. The fitted state of each consists of arrays, numbers and text.
"""
