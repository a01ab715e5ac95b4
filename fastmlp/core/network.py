"""A network's parameters and its optimizer's state."""

import numpy as np

from ..activations import ACTIVATIONS
from ..losses import LOSSES
from ..optimizers import GROUPS, MOST_STATES, OPTIMIZERS
from ..trainable import Parameters
from .layout import aligned, pack, plan, release_pages, unpack
from .records import GAINS, HYPERPARAMETERS, LEARNED, UNIT_PARAMETERS, VARIANCES
from .session import Session


class Network:
    """Parameters of a multi-layer perceptron and its optimizer's state.

    Parameters
    ----------
    units : sequence of int
        (n_features, hidden units ..., n_outputs).
    dtype : dtype
        float32 or float64, of all parameters and computations.
    activation : Activation, its name, or a list with one for each hidden layer
    loss, optimizer : Loss and Optimizer, or their names
    output : str or None
        Output activation, one that the loss allows; None for the loss's first.
    normalization : BatchNormalization, LayerNormalization or None
        Of the hidden layers, between product and activation.
    dropout : sequence of float or None
        Share of the outputs that training drops, for the inputs and each hidden layer.
    sparse : bool
        Whether the inputs of its sessions are sparse.
    rate_factors : dict or None
        By what the learning rate is multiplied for some of `fastmlp.optimizers.GROUPS`, 1 for the others.

    Attributes
    ----------
    grouped : bool
        Whether steps have scalars of their own for each group of parameters. Weights and biases then share no vector:
        no layer is narrow (see `layout`).
    """

    def __init__(
        self,
        units,
        *,
        dtype,
        activation,
        loss,
        optimizer,
        output=None,
        normalization=None,
        dropout=None,
        sparse=False,
        rate_factors=None,
    ):
        self.sparse = bool(sparse)
        self.units = tuple(int(n) for n in units)
        self.dtype = np.dtype(dtype)
        self.loss, self.optimizer = LOSSES.resolve(loss), OPTIMIZERS.resolve(optimizer)
        self.output = output or self.loss.outputs[0]
        self.normalization = normalization
        hidden = len(self.units) - 2
        names = activation if isinstance(activation, list | tuple) else [activation] * hidden
        self.activations = [ACTIVATIONS.resolve(name) for name in names]
        self.keep = 1 - np.array(dropout if dropout is not None else [0.0] * (hidden + 1), np.float64)
        self.rate_factors = dict(rate_factors or {})
        if not {*self.rate_factors} <= {*GROUPS}:
            raise ValueError(f"rate_factors must be factors of {', '.join(map(repr, GROUPS))}; got {rate_factors!r}.")
        alike = all(self.optimizer.for_group(group) == self.optimizer for group in GROUPS)
        self.grouped = bool(self.rate_factors) or not alike
        self.layout, sizes = plan(self.units, self.dtype, 0, self.sparse, self.grouped)
        self._states = [
            aligned(sizes["weights"] if n < self.optimizer.states else 0, self.dtype) for n in range(MOST_STATES)
        ]
        self._weights = aligned(sizes["weights"], self.dtype)
        self._gradient = aligned(0, self.dtype)
        self._set_unit_parameters()

    def _set_unit_parameters(self):
        """Before training: hyperparameters of the activations, gains and variances 1, shifts and means 0."""
        self.learned = np.array([*(component.learned for component in self.activations), False], np.int64)
        unit_parameters = self._unit_parameters(self._weights)
        unit_parameters[:] = 0
        for level, component in enumerate(self.activations, 1):
            first = self.layout.units_at[level]
            unit_parameters[HYPERPARAMETERS, first : first + self.units[level]] = component.hyperparameter
        unit_parameters[GAINS] = unit_parameters[VARIANCES] = 1

    def _unit_parameters(self, buffer):
        """View of the unit parameters of all units, of shape (UNIT_PARAMETERS, ...)."""
        at, row = self.layout.unit_parameters_at, self.layout.unit_parameter_row
        return buffer[at : at + UNIT_PARAMETERS * row].reshape(UNIT_PARAMETERS, row)

    @property
    def has_unit_parameters(self):
        """Whether units learn anything beside their weights."""
        return self.normalization is not None or bool(self.learned.any())

    def unit_parameters(self):
        """What units have beside weights: a list of arrays (UNIT_PARAMETERS, n_units), one for each hidden layer."""
        return [view.copy() for view in self._by_level(self._unit_parameters(self._weights))]

    def set_unit_parameters(self, unit_parameters):
        """Copy in unit parameters as `unit_parameters` gives them."""
        for view, values in zip(self._by_level(self._unit_parameters(self._weights)), unit_parameters, strict=False):
            view[:] = values

    def _by_level(self, rows):
        """Views of the units of each hidden level, in an array that has a number for each unit in each of its rows."""
        at = self.layout.units_at
        return [rows[:, at[level] : at[level] + self.units[level]] for level in range(1, len(self.units) - 1)]

    def set_weights(self, coefs, intercepts):
        """Copy in parameters: matrices (n_below, n_above) and vectors (n_above,)."""
        self._write(self._weights, [*coefs, *intercepts])

    def weights(self):
        """Parameters as lists (coefs, intercepts) of new arrays."""
        arrays = self._read(self._weights)
        layers = len(self.units) - 1
        return arrays[:layers], arrays[layers:]

    def parameters(self):
        """All that is learned, as new arrays."""
        coefs, intercepts = self.weights()
        return Parameters(coefs, intercepts, self.unit_parameters() if self.has_unit_parameters else [])

    def set_parameters(self, parameters):
        """Copy in what `parameters` gives."""
        self.set_weights(parameters.coefs, parameters.intercepts)
        self.set_unit_parameters(parameters.unit_parameters)

    def set_states(self, states):
        """Copy in the optimizer's states, each a list of arrays shaped like coefs followed by intercepts.

        Where units learn unit parameters, one more array of shape (LEARNED, ...) ends the list.
        """
        for buffer, arrays in zip(self._states, states, strict=False):
            if len(arrays) != 2 * len(self.units) - 2 + self.has_unit_parameters:
                raise ValueError(
                    "An optimizer can only go on with the normalization and the learned slopes that it began with; "
                    "call fit to start a new one."
                )
            self._write(buffer, arrays)
            if self.has_unit_parameters:
                self._unit_parameters(buffer)[:LEARNED] = arrays[-1]

    def take_states(self):
        """The optimizer's states, as `set_states` takes them, at the end of a training.

        Memory that it needed is given back before as much is taken for copies.
        """
        release_pages(self._gradient)
        states = []
        for buffer in self._states[: self.optimizer.states]:
            learned = [self._unit_parameters(buffer)[:LEARNED].copy()] if self.has_unit_parameters else []
            states.append(self._read(buffer) + learned)
            release_pages(buffer)
        return states

    def read_gradient(self, buffer, units):
        """A gradient as new arrays: by weights from `buffer` (P,), by unit parameters from `units` (LEARNED, ...)."""
        arrays, layers = self._read(buffer), len(self.units) - 1
        learned = [view.copy() for view in self._by_level(units)] if self.has_unit_parameters else []
        return Parameters(arrays[:layers], arrays[layers:], learned)

    def write_gradient(self, gradient, buffer, units):
        """Put a gradient where `read_gradient` finds it."""
        self._write(buffer, [*gradient.coefs, *gradient.intercepts])
        for view, values in zip(self._by_level(units), gradient.unit_parameters, strict=False):
            view[:] = values

    def _gradient_buffer(self, size):
        """`size` numbers, which all sessions share, since no two train at a time: zeros, or what the last one left."""
        if self._gradient.size < size:
            self._gradient = aligned(size, self.dtype)
        return self._gradient[:size]

    def _write(self, buffer, arrays):
        for layer in range(len(self.units) - 1):
            intercept = np.reshape(arrays[len(self.units) - 1 + layer], (1, -1))
            matrix = np.concatenate([arrays[layer], intercept])
            if self.layout.narrow[layer]:
                rows = self._narrow(buffer, layer)
                rows[:, : len(matrix)], rows[:, len(matrix) :] = matrix.T, 0
            else:
                pack(matrix, buffer, self.layout.weights_at[layer])

    def _read(self, buffer):
        matrices = []
        for layer, shape in enumerate(zip(self.units, self.units[1:], strict=False)):
            if self.layout.narrow[layer]:
                matrix = self._narrow(buffer, layer)[:, : shape[0] + 1].T.copy()
            else:
                matrix = np.empty((shape[0] + 1, shape[1]), self.dtype)
                unpack(buffer, self.layout.weights_at[layer], matrix)
            matrices.append(matrix)
        return [m[:-1] for m in matrices] + [m[-1].copy() for m in matrices]

    def _narrow(self, buffer, layer):
        """View of a narrow layer's parameters, of shape (n_above, n_below + 1) with the padding of its rows."""
        at, stride, rows = self.layout.weights_at[layer], self.layout.narrow[layer], self.units[layer + 1]
        return buffer[at : at + rows * stride].reshape(rows, stride)

    def session(self, X, y=None, sample_weight=None, *, batch_size, n_threads=None):
        """A team at work on data; a context manager. See Session."""
        return Session(self, X, y, sample_weight, batch_size, n_threads)
