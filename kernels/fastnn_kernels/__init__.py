"""The compiled kernels of fastnn, on buffers that their caller gives.

One concept a file, from the bottom up:

- ``compiler``: everything of numba that is not documented; the decorator, the cache, calls through pointers.
- ``vectors``: vectors, exp, tanh and log of them, matrix products.
- ``gate``, ``sparse``, ``layer``, ``norm``, ``random``, ``output``, ``loss``, ``update``: the operations.
- ``network``: a tile of samples through all layers; ``train``, ``predict``, ``grid``, ``quadtree``: loops.

Each operation has its twin in plain NumPy under ``fastnn/reference``, in the file of the same name.
Kernels check nothing, allocate nothing and raise nothing: ``fastnn`` has checked all arguments.
"""
