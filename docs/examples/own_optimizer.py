"""An optimizer of one's own: signSGD with momentum.

It may keep up to three numbers beside each weight.

Source: J. Bernstein et al., "signSGD: compressed optimisation for non-convex problems", ICML 2018,
algorithm 2.
"""

import numpy as np
from sklearn.datasets import load_digits

from fastmlp import MLPClassifier
from fastmlp.machine.simd import where
from fastmlp.optimizers import OPTIMIZERS, Optimizer, rows_of


@OPTIMIZERS.add("signum")
class Signum(Optimizer):
    """m = beta m + (1 - beta) g,  w = w - rate sign(m); ``beta`` is in [0, 1)."""

    beta: float = 0.9

    states = 1  # m, which is 0 at the start

    def scalars(self, t, rate):
        """What all weights share, a row for each of the steps t; up to 8 columns."""
        return rows_of(t, rate, self.beta, 1 - self.beta)

    def formula(self, n, g, w, m):
        """(w, m) after a step, in NumPy; n is a row of `scalars`."""
        rate, beta, rest = n
        m = beta * m + rest * g
        return w - rate * np.sign(m), m

    @staticmethod
    def vector(n, g, w, m):
        """The same of SIMD vectors."""
        rate, beta, rest = n
        m = m * beta + g * rest
        return w - rate * where(m > 0, 1, where(m < 0, -1, m)), m


if __name__ == "__main__":
    X, y = load_digits(return_X_y=True)
    settings = {"learning_rate_init": 2e-3, "max_iter": 20, "random_state": 0, "tol": 0}
    model = MLPClassifier((50,), solver=Signum(beta=0.8), **settings)
    model.fit(X[:1400] / 16, y[:1400])
    print(f"{model.score(X[1400:] / 16, y[1400:]):.1%} of the digits are right")
