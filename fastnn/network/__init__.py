"""Networks as data: layer sizes, names of activations and outputs, and the flat parameter vector."""

from .description import Network as Network
