"""Limits of the engine: the length of a call into the kernels, and the work from which threads share a call.

Read as ``limits.NAME`` at every use.
"""

# Seconds of a call into the kernels. Between calls Python sees interrupts and runs the hooks of a training.
CALL_SECONDS = 0.05
# FLOPs of the first call, before the speed of the machine is known.
FIRST_CALL_OPERATIONS = 1e8
# Most steps of a call, for which the optimizer's coefficients are computed beforehand.
CALL_STEPS = 1 << 16
# FLOPs (of float32) of a step from which on threads share it, about 0.1 ms.
SHARED_OPERATIONS = 1.2e7
# Batches with fewer samples are shared by units, in N_PARTS parts; others by samples.
TEAM_SAMPLES, N_PARTS = 256, 2
# A batch shared by samples is cut into shards, each with a gradient of its own: the most shards, the fewest
# samples of one, and the most bytes of all gradients.
MOST_SHARDS = 8
LEAST_SHARD = 64
SHARED_BYTES = 1 << 28
