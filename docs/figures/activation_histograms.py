"""The outputs of five hidden layers of tanh at the start of a training."""

import numpy as np

from fastmlp import MLPClassifier
from fastmlp.plotting import ActivationHistogramDisplay

random = np.random.default_rng(0)
X = random.standard_normal((500, 64))
model = MLPClassifier((64,) * 5, activation="tanh", initializer="glorot_normal", max_iter=1, tol=1, random_state=0)
model.partial_fit(X, random.integers(0, 2, 500), classes=[0, 1])
ActivationHistogramDisplay.from_estimator(model, X)
