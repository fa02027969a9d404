"""The numpy twin of the kernels: the tutorial's own formulas, the shortest correct NumPy.

Rows are samples, as in the tutorial. Each file has a twin of the same name among the kernels, except
``tutorial.py``, the tutorial's training loop, which is the place to start reading. Nothing here calls a
kernel, and numpy is all that is imported.
"""
