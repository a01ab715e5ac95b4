"""Which kernels a task needs beside `engine.work`, that only some networks and tasks do."""

import numpy as np

from .outputs import only_softmax, output_pass
from .records import DIFFERENTIATE, PREDICT, TRAIN
from .sparse import sparse_pass
from .units import unit_pass


def needed(kind, network, loss, weighted, max_norm):
    """Whether a task calls each of the kernels that have a place in `records.Passes`, in their order.

    Parameters
    ----------
    kind : of the task
    network : Network
    loss : LossCodes
    weighted : whether rows have weights
    max_norm : of the weights into a unit, infinite for none

    Returns
    -------
    needed : dict of {Kernel: bool}
    """
    trains = kind in (TRAIN, DIFFERENTIATE)
    return {
        unit_pass: network.has_unit_parameters or max_norm < np.inf or bool((network.keep < 1).any()),
        sparse_pass: network.sparse,
        output_pass: kind == PREDICT or (trains and not only_softmax.py_func(loss, weighted)),
    }
