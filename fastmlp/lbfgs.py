"""SciPy's L-BFGS over all rows at once: a training without steps, for small data.

Like `fastmlp.training` it drives a session and knows nothing of estimators.
"""

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any

import numpy as np
import scipy
from scipy.optimize import OptimizeResult, minimize

from .core.network import Network
from .core.session import Session
from .initializers import Weights
from .training import OutOfTime, all_finite, divergence_message, out_of_time_message, say

__all__ = ["Minimization", "MinimizationSettings", "minimize_lbfgs"]


def _convergence_message(result: OptimizeResult, n_iter: int, max_iter: int) -> str:
    """scikit-learn's text for an L-BFGS run that did not converge (``sklearn.utils.optimize``)."""
    message = f"lbfgs failed to converge after {n_iter} iteration(s) (status={result.status}):\n{result.message}\n"
    if n_iter == max_iter:
        message += f"\nIncrease the number of iterations to improve the convergence (max_iter={max_iter})."
    return message + (
        "\nYou might also want to scale the data as shown in:\n"
        "    https://scikit-learn.org/stable/modules/preprocessing.html"
    )


def _unpack(vector: np.ndarray, like: list[np.ndarray]) -> list[np.ndarray]:
    """Views of a flat vector, shaped like the given arrays, in their order."""
    views, start = [], 0
    for array in like:
        views.append(vector[start : start + array.size].reshape(array.shape))
        start += array.size
    return views


@dataclass(frozen=True)
class MinimizationSettings:
    """When to stop, and what to minimize.

    Attributes
    ----------
    alpha : strength of the L2 penalty
    tol : greatest component of the gradient at which to stop
    max_iter, max_fun : most iterations, most evaluations of the loss
    max_time : seconds from ``started`` (of `time.perf_counter`) after which the iteration is the last; None for ever
    verbose : print a line per iteration
    name : what the lines say in addition, where several networks train side by side
    """

    alpha: float
    tol: float = 1e-4
    max_iter: int = 200
    max_fun: int = 15000
    max_time: float | None = None
    started: float = field(default_factory=perf_counter)
    verbose: bool = False
    name: str = ""


class Minimization:
    """The loss of a network over all rows of a session, as SciPy's minimizer sees it.

    The vector of unknowns is float64, coefs then intercepts, each row-major; a float32 network sees it rounded.
    """

    def __init__(self, network: Network, session: Session, settings: MinimizationSettings) -> None:
        self.network = network
        self.session = session
        self.settings = settings
        coefs, intercepts = network.weights()
        self.n_layers, self.shapes = len(coefs), coefs + intercepts
        start = np.concatenate([array.ravel() for array in self.shapes], dtype=np.float64)
        self.reached = OptimizeResult(x=start, fun=math.nan, nit=0)
        self.latest_loss = math.nan

    def loss_and_gradient(self, vector: np.ndarray) -> tuple[float, np.ndarray]:
        """What the minimizer evaluates."""
        arrays = _unpack(vector, self.shapes)
        self.network.set_weights(arrays[: self.n_layers], arrays[self.n_layers :])
        self.latest_loss, gradient = self.session.gradient(alpha=self.settings.alpha)
        arrays = [*gradient.coefs, *gradient.intercepts]
        return self.latest_loss, np.concatenate([array.ravel() for array in arrays], dtype=np.float64)

    def note_iteration(self, vector: np.ndarray) -> None:
        """Called after each iteration, with where it ended."""
        settings, reached = self.settings, self.reached
        reached.x, reached.fun, reached.nit = vector.copy(), self.latest_loss, reached.nit + 1
        seconds = perf_counter() - settings.started
        if settings.verbose:
            say(f"Iteration {reached.nit}, loss = {self.latest_loss:.8f}, {seconds:.2f} s{settings.name}")
        if settings.max_time is not None and seconds >= settings.max_time:
            raise OutOfTime

    def weights(self) -> Weights:
        """(coefs, intercepts) where the minimization is, rounded to the network's dtype."""
        arrays = [array.astype(self.network.dtype) for array in _unpack(self.reached.x, self.shapes)]
        return arrays[: self.n_layers], arrays[self.n_layers :]


def minimize_lbfgs(
    network: Network, session: Session, settings: MinimizationSettings, warn: Callable[[str], None]
) -> tuple[Weights, float, int]:
    """Minimize the loss over all rows of a session with SciPy's L-BFGS-B.

    KeyboardInterrupt ends the minimization with a warning and the weights of the latest iteration.

    Parameters
    ----------
    network : Network that holds the starting weights
    warn : callable (message), called if the minimization does not converge, or its time is over

    Returns
    -------
    weights : (coefs, intercepts), rounded to the network's dtype
    loss : loss at those weights, penalty included
    n_iter : iterations done

    Source: R. H. Byrd, P. Lu, J. Nocedal, C. Zhu, "A limited memory algorithm for bound constrained optimization",
    SIAM J. Sci. Comput. 16 (1995); ``scipy.optimize.minimize(method="L-BFGS-B")``.
    """
    problem = Minimization(network, session, settings)
    options: dict[str, Any] = {"maxfun": settings.max_fun, "maxiter": settings.max_iter, "gtol": settings.tol}
    if tuple(map(int, scipy.__version__.split(".")[:2])) < (1, 15):
        options["iprint"] = -1
    try:
        problem.reached = minimize(
            problem.loss_and_gradient,
            problem.reached.x,
            method="L-BFGS-B",
            jac=True,
            callback=problem.note_iteration,
            options=options,
        )
    except KeyboardInterrupt:
        warnings.warn("Training interrupted by user.", stacklevel=2)
    except OutOfTime:
        warn(out_of_time_message(settings.max_time or 0.0, f"{problem.reached.nit} iterations", "the latest"))
    reached, weights = problem.reached, problem.weights()
    n_iter = min(reached.nit, settings.max_iter)
    if reached.get("status", 0) != 0:
        warn(_convergence_message(reached, n_iter, settings.max_iter))
    if not all_finite(weights[0] + weights[1]):
        warn(divergence_message(f"iteration {n_iter}", float(reached.fun), None))
    return weights, float(reached.fun), n_iter
