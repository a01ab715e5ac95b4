"""Storing a fitted estimator: pickles that name their version, and models without their optimizer."""

import inspect
import re
from typing import TYPE_CHECKING, Any

from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from .. import __version__
from ..training import OptimizerState
from .weights import Components

if TYPE_CHECKING:
    from typing_extensions import Self


def release_of(version: str) -> tuple[int, int]:
    """Major and minor number of a version such as "0.3" or "1.0rc1"; (0, 0) of one that has none."""
    numbers = re.match(r"(\d+)\.(\d+)", version)
    return (int(numbers[1]), int(numbers[2])) if numbers else (0, 0)


# A scorer's view of the network in training; the number of a network among those of an ensemble in training.
NOT_STORED = ("_forward", "_name")


class Storable(BaseEstimator):
    """Pickling for an estimator whose optimizer state is in ``_optimizer``.

    A pickle holds plain arrays and numbers, so that ``partial_fit`` goes on exactly where it stopped.
    """

    _optimizer: OptimizerState | None
    _optimizer_lost: str | None = None  # by what

    def drop_optimizer_state(self) -> "Self":
        """Forget the optimizer's moments, which are once or twice as large as the weights, before storing a model.

        Predictions stay as they are and ``fit`` works as before, with ``warm_start=True`` too. ``partial_fit`` can no
        longer continue where training stopped: until the next ``fit`` it raises an error that says so.

        Returns
        -------
        self : object
            The estimator, now without optimizer state.
        """
        check_is_fitted(self)
        for member in getattr(self, "estimators_", ()):
            member.drop_optimizer_state()
        self._optimizer = None
        self._optimizer_lost = "drop_optimizer_state(), which removed the optimizer's moments"
        return self

    def _check_optimizer_state(self, incremental: bool) -> None:
        """Refuse to continue without the lost state; any new training makes its own."""
        if incremental and self._optimizer_lost is not None:
            raise ValueError(
                f"partial_fit cannot continue after {self._optimizer_lost}; call fit, with warm_start=True to go on "
                "from the present weights, to start a new optimizer."
            )
        self._optimizer_lost = None

    def __getstate__(self) -> dict[str, Any]:
        """The attributes, and the version that wrote them; nothing that is tied to a training in progress."""
        state = {**super().__getstate__(), "_fastmlp_version": __version__}
        for name in NOT_STORED:
            state.pop(name, None)
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore a pickle; parameters that its version of fastmlp did not have take their defaults.

        An older optimizer state of another form is left behind.
        """
        state = dict(state)
        version = state.pop("_fastmlp_version", "0.0.0")
        theirs, ours = release_of(version), release_of(__version__)
        if theirs > ours:
            raise ValueError(
                f"This pickle needs fastmlp {theirs[0]}.{theirs[1]} or later, which wrote it; this is fastmlp "
                f"{__version__}. Install fastmlp>={theirs[0]}.{theirs[1]} to load it."
            )
        optimizer = state.get("_optimizer")
        if theirs < ours and optimizer is not None and vars(optimizer).keys() != OptimizerState.__annotations__.keys():
            lost = f"loading a pickle of fastmlp {version}, whose optimizer's state had another form"
            state |= {"_optimizer": None, "_optimizer_lost": lost}
        if "_words" in state:  # fastmlp 0.2
            activations, normalization = state.pop("_words")
            state["_components"] = Components(tuple(activations), normalization, None)
        parameters = inspect.signature(type(self)).parameters
        super().__setstate__({**{name: p.default for name, p in parameters.items()}, **state})
