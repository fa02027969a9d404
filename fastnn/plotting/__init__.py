"""Drawings with matplotlib: decision boundaries, training histories, animations."""
