"""The kernels that Python calls or passes by address, and the data that they share with Python.

A module has the named tuples and indices of its kernels' arguments, and a function for each kernel that
returns its pointer, for a dtype and for the arguments of the kernel's factory. No module imports numba: the
kernels import named tuples and indices from here, and `compiler.entry` imports a kernel when it must be
compiled.
"""
