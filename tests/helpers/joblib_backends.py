"""Backends of joblib for tests: workers that are threads, but get and return pickles as processes do."""

import concurrent.futures.process
import pickle
import threading

from joblib.parallel import ThreadingBackend

__all__ = ["LosingBackend", "PicklingBackend"]

# scikit-learn sets the filters of warnings around each call, and threads share the filters.
ONE_AT_A_TIME = threading.Lock()


class PicklingBackend(ThreadingBackend):
    """Threads that stand for processes: each batch of calls, and its results, are pickled."""

    uses_threads, supports_sharedmem = False, False

    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        self.n_batches = 0

    def effective_n_jobs(self, n_jobs):
        """Return the number of workers."""
        return 2

    def submit(self, function, callback=None):
        """Run a batch of calls on a thread."""
        self.n_batches += 1
        number, content = self.n_batches, pickle.dumps(function)

        def run():
            with ONE_AT_A_TIME:
                return pickle.loads(pickle.dumps(self._called(number, content)))

        return super().submit(run, callback)

    def _called(self, number, content):
        return pickle.loads(content)()


class LosingBackend(PicklingBackend):
    """Workers that end while they compute the batches `lost`."""

    lost = ()

    def _called(self, number, content):
        if number in self.lost:
            raise concurrent.futures.process.BrokenProcessPool("a worker has ended")
        return super()._called(number, content)
