"""A table of numbers, booleans and coded categories with missing entries, and models of it."""

import numpy as np

from fastmlp import TabularClassifier, TabularRegressor

RNG = np.random.default_rng(0)
N = 300
X = np.column_stack(
    [
        RNG.normal(size=N),
        np.exp(3 * RNG.normal(size=N)),
        RNG.integers(0, 2, N),  # two levels
        RNG.integers(0, 5, N),
        RNG.geometric(0.3, N),  # many levels, the rare ones together
        np.where(RNG.uniform(size=N) < 0.9, 0.0, RNG.normal(size=N)),  # no interquartile range
        np.full(N, 7.0),  # dropped
    ]
)
X[RNG.uniform(size=X.shape) < 0.1] = np.nan
X[:, 6] = 7.0
CATEGORIES = [2, 3, 4]
NEW = np.where(RNG.uniform(size=X.shape) < 0.05, 99.0, X)  # levels that no row had
CLASSES = np.array(["low", "middle", "high"])[(np.nan_to_num(X[:, 0]) > 0.5).astype(int) + (np.nan_to_num(X[:, 3]) > 2)]
TARGET = 1e4 + 3 * np.nan_to_num(X[:, 0]) * (np.nan_to_num(X[:, 2]) - 0.5)


def model(kind=TabularClassifier, y=CLASSES, **parameters):
    settings = {"preset": "fast", "max_epochs": 4, "hidden_layer_sizes": (12, 8), "n_members": 3, "n_threads": 1}
    return kind(categorical_features=CATEGORIES, random_state=0, **settings, **parameters).fit(X, y)


MODELS = {
    "classes": lambda: model(),
    "two classes": lambda: model(y=CLASSES == "low"),
    "one target": lambda: model(TabularRegressor, TARGET),
    "targets": lambda: model(TabularRegressor, np.column_stack([TARGET, X[:, 6] - TARGET])),
}


def expected_of(fitted, rows):
    return fitted.predict_proba(rows) if hasattr(fitted, "predict_proba") else fitted.predict(rows)
