"""Calls of a training loop: the threads that share each call, and how long it runs."""

from __future__ import annotations

import os
from collections.abc import Hashable
from concurrent.futures import Future, wait
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import numpy as np

from fastnn_kernels.calls.training import COUNTER_DISTANCE, Team
from fastnn_kernels.compiler.entry import PreparedCall
from fastnn_kernels.compiler.interrupts import defer_signals

from ..network.description import allocate_zeros
from ..system import threads
from ..system.threads import CorePlaces, acquire_cores, start_pool
from . import limits
from .thread_choice import ThreadChoice

if TYPE_CHECKING:
    from concurrent.futures import ThreadPoolExecutor


class SharedCalls:
    """Number of threads and of steps for each call of a training loop, and the pool of its threads.

    A call takes about `limits.CALL_SECONDS`, or a single step if that takes longer. The results of the loop
    do not depend on the number of threads.

    `kind` is equal for training runs whose steps are alike (`ThreadChoice`). `n_threads` is the number that
    was asked for, 0 to measure which is faster; `most` threads have work in a step of `operations` FLOPs.
    """

    def __init__(self, kind: Hashable, n_threads: int, most: int, operations: float) -> None:
        # Largest number of threads of a call. More than the cores would wait for each other at every barrier.
        self.max_threads = min(n_threads or most, most)
        if self.max_threads > 1:
            self.max_threads = min(self.max_threads, threads.count_cores())
        # Team of one thread, with the barrier of all.
        self.team = Team(0, 1, allocate_zeros(self.max_threads * COUNTER_DISTANCE, np.int64))
        self.n_running = 1  # threads that the last call ran on: every call takes only cores that are free
        self.n_steps = max(1, int(limits.FIRST_CALL_OPERATIONS / operations))  # of the next call
        self._n_threads = self.max_threads  # of the next call
        self._choice: ThreadChoice | None = None
        if n_threads == 0 and self.max_threads > 1:
            self._choice = ThreadChoice(kind, self.max_threads)
            self._n_threads, seconds = self._choice.next_call()
            # The speed is known if it was measured in an earlier training.
            self.n_steps = max(self.n_steps, int(seconds * self._choice.speed))
        self._pool: ThreadPoolExecutor | None = None
        self._process = os.getpid()  # ID of the process that has the pool's threads

    def run(self, call: PreparedCall) -> Any:
        """Run a call of the loop on free cores, and return the result of the calling thread.

        The argument `team` of the kernel is set for each thread. Signals wait until the end, where Ctrl-C is
        raised: neither a kernel nor the pool is left halfway.
        """
        if self._process != os.getpid():  # this process is a fork: it lacks the pool's threads
            self._pool, self._process = None, os.getpid()
        with acquire_cores(self._n_threads) as n_threads:
            if n_threads > 1 and self._pool is None:
                try:
                    self._pool = start_pool(self.max_threads - 1)
                except RuntimeError:  # no more threads are available, or the interpreter is exiting
                    self._use_one_thread()
            if n_threads > 1 and self._pool is not None:
                return self._run_together(call, n_threads, self._pool)
            self.n_running = 1
            return self._run_alone(call)

    def close(self) -> None:
        """Let the threads of the pool end; a later call starts others."""
        if self._pool is not None:
            # Without a shutdown, the callback of a weak reference to the pool would tell the threads to end,
            # and Python drops what a signal handler raises in such a callback: a Ctrl-C.
            with defer_signals():
                if self._process == os.getpid():
                    with suppress(MemoryError):
                        self._pool.shutdown(wait=False)
                self._pool = None

    def note(self, n_steps: int, seconds: float) -> None:
        """Choose threads and steps of the next call, given the duration of the last one."""
        speed, wanted = n_steps / max(seconds, 1e-6), limits.CALL_SECONDS
        if self._choice is not None:
            self._choice.note(self.n_running, n_steps, seconds)
            self._n_threads, wanted = self._choice.next_call()
            speed = self._choice.speed
        # A short call measures the speed inaccurately: let the calls grow eightfold at most.
        self.n_steps = max(1, min(int(wanted * speed), 8 * self.n_steps))

    def _use_one_thread(self) -> None:
        self._n_threads, self.n_running, self._pool, self._choice = 1, 1, None, None

    def _run_alone(self, call: PreparedCall) -> Any:
        if call.arguments["team"] is not self.team:
            call.set(team=self.team)
        return call()

    def _run_together(self, call: PreparedCall, n_threads: int, pool: ThreadPoolExecutor) -> Any:
        # The last call may have run on fewer threads: let all of them count from 0 at the kernel's barriers.
        barrier = self.team.barrier
        barrier[...] = 0
        counters = barrier.reshape(self.max_threads, -1)
        # The kernel's threads wait for each other at barriers: start only when all of them are submitted.
        all_submitted: Future[bool] = Future()
        calls = [call, *(call.copy() for _ in range(1, n_threads))]
        for thread, one in enumerate(calls):
            one.set(team=Team(thread, n_threads, barrier))
        places = CorePlaces()

        def share(thread: int) -> Any:
            try:
                if thread > 0:
                    with suppress(MemoryError):  # the thread then computes where it is
                        places.take()
                return calls[thread]()
            except BaseException:
                # Let the other threads pass the barriers at which they wait for this thread.
                counters[thread] = np.iinfo(np.int64).max
                raise

        def help_out(thread: int) -> None:
            if all_submitted.result():
                share(thread)

        try:
            try:
                others = [pool.submit(help_out, thread) for thread in range(1, n_threads)]
            except RuntimeError:  # the interpreter is exiting: continue on this thread alone
                all_submitted.set_result(False)
                self._use_one_thread()
                return self._run_alone(call)
            except BaseException:  # no memory
                all_submitted.set_result(False)
                raise
            all_submitted.set_result(True)
            self.n_running = n_threads
            try:
                result = share(0)
            finally:
                wait(others)
            for other in others:
                other.result()  # raises the exception of that thread, if there was one
            return result
        finally:
            places.release()
