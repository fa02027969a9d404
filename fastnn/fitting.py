"""Alias of `FittedNetwork` for pickles of version 0.1, which look for `State` here, until version 0.3."""

from .estimators.fitted import FittedNetwork

State = FittedNetwork
