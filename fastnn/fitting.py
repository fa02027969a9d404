"""Former home of a class that pickles of version 0.1 name here; to be removed in version 0.3."""

from .estimators.fitted import FittedNetwork

State = FittedNetwork
