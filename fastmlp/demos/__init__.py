"""The demos of the command line: the classics of the multi-layer perceptron, one in each file, run by its name.

A demo prints what it finds; its pictures go to a folder where matplotlib is installed. `data.py` reads the digits,
`output.py` draws tables and saves figures, `live_fit.py` shows a fit while it goes on.
"""

import pathlib
import warnings
from dataclasses import dataclass
from importlib import import_module

DEMOS = {
    "digits": "fastmlp beside scikit-learn on handwritten digits",
    "graph": "forward and backward through a small computation graph",
    "two-layer": "the first network in NumPy, its gradient checked; its compiled twin",
    "deep-mnist": "a deep tanh network from two initializers, and its modern form",
    "vanishing": "what ten layers make of the signal and of its gradient",
    "optimizers": "paths of optimizers over two bowls; their losses on one task",
    "schedules": "the learning rate of every schedule during a training",
    "capacity": "networks too small and too large for noisy samples of a curve",
}


class Interrupted(Exception):
    """The user has stopped a fit."""


@dataclass(frozen=True)
class Options:
    """What the command line says to a demo.

    Attributes
    ----------
    epochs : epochs to train, at most; None for the demo's own number
    mnist : folder with the files of MNIST; None for those of FASTMLP_DATA, or scikit-learn's digits
    output : folder for figures
    quick : whether to show everything on a small scale, within seconds
    cache : where compiled kernels are kept, to be told
    """

    epochs: int | None = None
    mnist: pathlib.Path | None = None
    output: pathlib.Path = pathlib.Path()
    quick: bool = False
    cache: str = "the cache"

    def budget(self, usual: int, quick: int) -> int:
        """Epochs to train: as the user says, else what is usual, or quick."""
        return self.epochs or (quick if self.quick else usual)


def run(name: str, options: Options) -> None:
    """Run the demo of that name.

    Raises
    ------
    Interrupted
        If the user stops a fit.
    """
    from sklearn.exceptions import ConvergenceWarning

    demo = import_module("." + name.replace("-", "_"), __name__)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # demos train for as long as they want to
        warnings.filterwarnings("error", message="Training interrupted by user")
        try:
            demo.demonstrate(options)
        except UserWarning as warning:
            raise Interrupted from warning
