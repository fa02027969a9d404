"""Alias of `Memory` for pickles of version 0.1, which look for the class here, until version 0.3."""

from .engine.job import Memory as Memory
