"""A loss of one's own: Cauchy's, which errors far from the target hardly move.

Source: J. Barron, "A general and adaptive robust loss function", CVPR 2019, equation 1 with
alpha = 0.
"""

import numpy as np

from fastmlp import MLPRegressor
from fastmlp.losses import LOSSES, ErrorLoss
from fastmlp.machine.elementary import log1p


@LOSSES.add("cauchy")
class Cauchy(ErrorLoss):
    """rho(e) = c² log(1 + u² / 2), rho'(e) = e / (1 + u² / 2); e = y - t, u = e / c, c > 0."""

    c: float = 1.0

    def of_error(self, e):
        """(rho, rho') in NumPy."""
        square = (e / self.c) ** 2 / 2
        return self.c**2 * np.log1p(square), e / (1 + square)

    @staticmethod
    def of_error_vector(e, c):
        """The same of SIMD vectors; c is the first field of the component."""
        square = (e / c) * (e / c) * 0.5
        return c * c * log1p(square), e / (square + 1)


if __name__ == "__main__":
    random = np.random.default_rng(0)
    X = random.uniform(-1, 1, (2000, 2))
    y = np.sin(3 * X[:, 0]) + X[:, 1] ** 2
    spoiled = np.where(random.random(2000) < 0.2, y + 20 * random.random(2000), y)
    for loss in ("squared_error", Cauchy(c=0.2)):
        settings = {"learning_rate_init": 0.01, "max_iter": 60, "random_state": 0, "tol": 0}
        model = MLPRegressor(loss, (50,), **settings)
        print(f"{loss!s:16} R² on unspoiled targets {model.fit(X, spoiled).score(X, y):.2f}")
