"""An activation of one's own: squareplus, (z + sqrt(z² + b)) / 2, without an exponential.

Source: J. Barron, "Squareplus: a softplus-like algebraic rectifier" (2021), equation 1.
"""

import numpy as np
from sklearn.datasets import load_digits

from fastmlp import MLPClassifier
from fastmlp.activations import ACTIVATIONS, Activation
from fastmlp.machine.simd import sqrt


@ACTIVATIONS.add("squareplus")
class Squareplus(Activation):
    """f(z) = (z + r) / 2 with r = sqrt(z² + b), f'(z) = (1 + z / r) / 2; ``b`` is above 0."""

    b: float = 4.0

    def formula(self, z):
        """In NumPy: what tests and the reference take."""
        r = np.sqrt(z * z + self.b)
        return (z + r) / 2, (1 + z / r) / 2

    @staticmethod
    def vector(z, b):
        """The same of SIMD vectors, for compiled code; b is the first field of the component."""
        r = sqrt(z * z + b)
        return (z + r) * 0.5, (z / r + 1) * 0.5


if __name__ == "__main__":
    X, y = load_digits(return_X_y=True)
    model = MLPClassifier((50,), activation=Squareplus(b=1.0), max_iter=20, random_state=0, tol=0)
    model.fit(X[:1400] / 16, y[:1400])
    print(f"{model.score(X[1400:] / 16, y[1400:]):.1%} of the digits are right")
