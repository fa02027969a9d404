"""The reference: the formulas of the tutorial and all others in plain NumPy, independent of the kernels.

Start with ``tutorial.py``, the tutorial's training loop. Every other file has the same operations as the file
of the same name among the kernels. Rows are samples, as in the tutorial. The modules import NumPy alone and
call no kernel.
"""
