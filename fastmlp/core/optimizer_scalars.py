"""The scalars of optimizer steps, worked out in NumPy for many steps before compiled code needs them."""

import numpy as np

from ..optimizers import GROUPS
from .layout import aligned
from .records import OPTIMIZER_SCALARS

# Steps whose scalars are worked out together, in NumPy.
SCALARS_AHEAD = 256
MAX_SCALARS_AHEAD = 4096


class OptimizerScalars:
    """Rows of scalars for the steps ahead, of a network's optimizer or of one with other hyperparameters.

    Parameters
    ----------
    network : Network

    Attributes
    ----------
    groups : int
        Of parameters with scalars of their own in a step: 1, or all that there are.
    array : ndarray of shape (MAX_SCALARS_AHEAD * groups * OPTIMIZER_SCALARS,)
        What compiled code reads; empty before `allocate`.
    """

    def __init__(self, network):
        self._network, self._optimizer = network, network.optimizer
        self.groups = len(GROUPS) if network.grouped else 1
        self.array = aligned(0, network.dtype)
        self._prepared = None

    def allocate(self):
        """Allocate the rows; returns the array."""
        self.array = aligned(MAX_SCALARS_AHEAD * self.groups * OPTIMIZER_SCALARS, self._network.dtype)
        self._prepared = None
        return self.array

    def follow(self, optimizer):
        """Take on an optimizer with other hyperparameters; None for the network's.

        Raises
        ------
        ValueError
            If it is another kind of optimizer than the network's.
        """
        own = self._network.optimizer
        optimizer = own if optimizer is None else optimizer
        if optimizer is not self._optimizer:
            if optimizer.code != own.code:
                ours = type(own).__name__
                raise ValueError(f"optimizer must be the network's {ours} with other numbers; got {optimizer!r}.")
            self._optimizer, self._prepared = optimizer, None

    def prepare(self, rate, step, steps):
        """Work out the scalars of the steps after `step`; returns the first one's row.

        With one rate for all, some steps more: epochs of few steps share the cost of NumPy's calls.
        """
        constant = not isinstance(rate, np.ndarray)
        if constant and self._prepared is not None:
            known, first, stop = self._prepared
            if known == rate and first <= step and step + steps <= stop:
                return step - first
        count = min(max(steps, SCALARS_AHEAD), MAX_SCALARS_AHEAD) if constant else steps
        t = np.arange(step + 1, step + count + 1, dtype=np.float64)
        rates = np.full(count, rate) if constant else rate
        rows = self.array.reshape(-1, self.groups, OPTIMIZER_SCALARS)
        if self.groups == 1:
            scalars = self._optimizer.scalars(t, rates)
            rows[:count, 0, : scalars.shape[1]] = scalars
        else:
            for n, group in enumerate(GROUPS):
                factor = self._network.rate_factors.get(group, 1.0)
                scalars = self._optimizer.for_group(group).scalars(t, factor * rates)
                rows[:count, n, : scalars.shape[1]] = scalars
        self._prepared = (rate, step, step + count) if constant else None
        return 0
