"""The compiled kernels of fastnn, which work on buffers allocated by the caller.

Each file has one concept. From the lowest layer upward:

- ``compiler``: the decorator, the cache, calls through pointers, and all uses of numba's undocumented names.
- ``vectors``: SIMD vectors, their elementary functions, matrix products, transposition.
- ``encoding``, ``gate``, ``sparse``, ``layer``, ``norm``, ``random``, ``output``, ``loss``, ``update``,
  ``line_search``: operations.
- ``network``: forward and backward pass of one tile of samples; ``gradient``: both, with the loss.
- ``small_batch``, ``step``, ``team``, ``train``, ``lbfgs``: training; ``predict``: prediction.
- ``curvature``, ``bound``, ``committee``, ``grid``, ``quadtree``: pictures of decision boundaries.

Most operations have a NumPy version in the file of the same name in ``fastnn/reference``. Kernels check no
arguments, allocate no arrays and raise no exceptions: ``fastnn`` checks all arguments before. A product of
large matrices borrows 96 KB or less from the C library while it runs.
"""
