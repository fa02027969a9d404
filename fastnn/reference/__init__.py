"""The numpy twin of the kernels: the tutorial's own formulas, the shortest correct NumPy.

Rows are samples here, as in the tutorial; each file stands beside the kernels' file of the same
name, but for ``tutorial.py``, the tutorial's training loop, which is the place to start reading. Nothing
here calls a kernel.
"""
