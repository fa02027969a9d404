"""Limits of the engine: the duration of a kernel call, the size of tiles, the work that threads share.

Modules read a limit as ``limits.NAME`` at every use, so that tests can change it.
"""

# Target duration of a kernel call, in seconds. Ctrl-C waits for the end of a call; hooks run between calls.
CALL_SECONDS = 0.05
# Largest fraction of a training's time that copies of its arrays take, from which steps are repeated if the
# training diverges.
COPY_FRACTION = 0.01
# Duration of a trial: a call on another number of threads, whose speed is measured (`ThreadChoice`). Threads
# have to wake up and caches are cold at its beginning: a shorter trial would measure little else.
TRIAL_SECONDS = 0.005
# Fewest steps of a trial, unless they take CALL_SECONDS: where a step takes milliseconds, the first of a
# call takes up to twice as long as later ones, since the arrays have left the caches.
TRIAL_STEPS = 8
# Time before the first trial of a training, and from one trial to the next.
FIRST_TRIAL_SECONDS = 0.005
TRIAL_EVERY_SECONDS = 0.25
# Largest fraction of a training's time that slow trials take.
TRIAL_FRACTION = 0.02
# FLOPs of the first call, before the speed of the machine is known.
FIRST_CALL_OPERATIONS = 1e8
# Largest number of steps in a call; the optimizer's coefficients of all these steps are computed beforehand.
CALL_STEPS = 1 << 16
# Number of steps whose coefficients are computed beforehand if the rate is constant, for several short calls.
STEPS_AHEAD = 1 << 8
# A tile with the units of all layers should fit into the first-level cache, but loops along short rows are
# slow: the least width limits how far tiles shrink. It is given in bytes of a row for predictions, and in
# samples for training, which has more work per tile. The former is an odd number of cache lines: the rows of
# a tile are then spread over all sets of a cache.
TILE_BYTES = 32 * 1024
MIN_ROW_BYTES, MIN_TRAINING_WIDTH, MAX_WIDTH = 13 * 64, 256, 512
# A kernel call computes at least one tile, and Ctrl-C waits for its end: tiles of large networks are so
# narrow that they take at most this many FLOPs, about 50 ms.
TILE_OPERATIONS = 3e9
# Fewest FLOPs of a step that threads share, in float32: 0.04 to 0.08 ms on one thread.
SHARED_OPERATIONS = 5.8e6
# Batches with fewer than TEAM_SAMPLES samples are divided into N_PARTS parts, by units or by samples; larger
# ones by samples. Batch normalisation divides batches of any size by units, if at all.
TEAM_SAMPLES = 256
# Those batches are divided by units if the network has at least this many parameters for each sum of a batch.
TEAM_TRAFFIC = 1.0
# A batch divided by samples has shards, each with its own gradient: the largest number of shards, the fewest
# samples in a shard, and the most bytes of all gradients together.
MAX_SHARDS = 8
MIN_SHARD = 64
SHARED_BYTES = 1 << 28
# Bytes between the workspaces of threads that share a step, a multiple of every processor's cache line.
GAP_BYTES = 1 << 16
# Fewest numbers that a thread reads and writes in a step on a CSR matrix: parameters that it updates, and
# weights and derivatives that it multiplies. Two threads then have 0.1 ms of work.
MIN_TOUCHED = 1 << 16
# Predictions of at most this many rows by networks of at most this many parameters take microseconds, so
# calls stay prepared from one prediction to the next.
FEW_ROWS, FEW_PARAMETERS = 8, 1 << 16
# Fewest tiles of each thread in a prediction for which the weights of wide layers are packed once beforehand,
# instead of for every tile. One thread packs them, into new memory: on one thread, this takes as long as four
# or five tiles save.
PACKED_TILES = 8
# A batch is computed with vectors of units instead of samples if one feature of all its samples takes at most
# this many bytes: 8 samples in float32, half a vector. With 12 samples, both take the same time.
ROW_BYTES = 32
