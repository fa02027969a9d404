"""The compiled kernels of fastnn, on buffers that their caller gives.

One concept a file, from the bottom up:

- ``numba_internals``: everything of numba that is not documented.
- ``jit``: the decorator and the cache; ``pointer``: kernels that are called where they are.
- ``simd``, ``vmath``: vectors, and exp, tanh, log on them.
- ``gate`` (on ``product``), ``sparse``, ``layer``, ``output``, ``loss``, ``update``: the operations.
- ``network``: a tile of samples through all layers; ``train``, ``predict``, ``grid``: the loops.

Each operation has its twin in plain NumPy under ``fastnn/reference``, in the file of the same name.
Kernels check nothing, allocate nothing and raise nothing: ``fastnn`` calls them with what it has
checked.
"""
