"""Engines that run a job: the compiled kernels, or the NumPy reference."""
