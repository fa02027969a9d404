"""Settings of the whole suite."""

import hypothesis
import matplotlib

import fastnn.backends
import fastnn.threads

matplotlib.use("Agg")

# As many threads as a test asks for, on whatever machine.
fastnn.backends.available_cores = fastnn.threads.available_cores = lambda: 8

# Deadlines are times, and a first example compiles; no test may depend on a time. The examples are
# the same in every run, so that a failure in CI is a failure at home.
hypothesis.settings.register_profile("fastnn", deadline=None, derandomize=True, max_examples=60)
hypothesis.settings.load_profile("fastnn")
