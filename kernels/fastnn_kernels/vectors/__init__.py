"""SIMD code: vectors, elementary functions of vectors, matrix products, transposition to tiles of samples."""
