"""A backend of joblib for tests: workers that are threads, but get and return pickles as processes do."""

import pickle
import threading

from joblib.parallel import ThreadingBackend

__all__ = ["PicklingBackend"]

# scikit-learn sets the filters of warnings around each call, and threads share the filters.
ONE_AT_A_TIME = threading.Lock()


class PicklingBackend(ThreadingBackend):
    """Threads that stand for processes: each batch of calls, and its results, are pickled.

    Each thread calls `before` with the number of a batch, counted from 1, before it computes the batch.
    """

    uses_threads, supports_sharedmem = False, False

    def __init__(self, before=lambda number: None, **options):
        super().__init__(**options)
        self.n_batches, self.before = 0, before

    def effective_n_jobs(self, n_jobs):
        return 2

    def compute_batch_size(self):
        return 3

    def submit(self, function, callback=None):
        self.n_batches += 1
        number, content = self.n_batches, pickle.dumps(function)

        def run():
            with ONE_AT_A_TIME:
                self.before(number)
                return pickle.loads(pickle.dumps(pickle.loads(content)()))

        return super().submit(run, callback)
