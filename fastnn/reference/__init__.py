"""The reference: all formulas, those of the tutorial included, in plain NumPy and without the kernels.

Start with ``tutorial.py``, the tutorial's training loop. Every other file has the same operations as the file
of the same name among the kernels. Rows are samples, as in the tutorial. The modules import NumPy alone and
call no kernel.
"""
