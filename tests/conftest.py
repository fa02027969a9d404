"""Settings of the whole suite."""

import hypothesis
import matplotlib

matplotlib.use("Agg")

# Deadlines are times, and a first example compiles; no test may depend on a time. The examples are
# the same in every run, so that a failure in CI is a failure at home.
hypothesis.settings.register_profile("fastnn", deadline=None, derandomize=True, max_examples=60)
hypothesis.settings.load_profile("fastnn")
