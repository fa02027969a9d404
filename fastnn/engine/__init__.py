"""Backends that run predictions and training jobs: the compiled kernels, or the NumPy reference."""
