"""Descriptions of networks: layer sizes, activations, loss, and the layout of the flat parameter vector."""

from .description import Network as Network
