"""Compilation of kernels: the decorator, calls through pointers, the cache of machine code, interrupts."""
