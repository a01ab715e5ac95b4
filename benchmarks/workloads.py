"""The five training jobs that are measured, and what is known about each beforehand."""

import itertools
from typing import NamedTuple

import numpy as np


class Workload(NamedTuple):
    """A classification job. `epochs` is the e of (fit of 3e epochs - fit of e epochs) / 2e."""

    name: str
    rows: int
    features: int
    hidden: tuple
    classes: int
    batch: int
    activation: str
    epochs: int

    @property
    def shapes(self):
        """(fan_in, fan_out) of each layer."""
        units = (self.features, *self.hidden, self.classes)
        return list(itertools.pairwise(units))

    @property
    def parameters(self):
        """Number of weights and biases."""
        return sum((fan_in + 1) * fan_out for fan_in, fan_out in self.shapes)

    @property
    def operations(self):
        """Multiplications and additions per row: forward, gradient, and back through all layers but the first."""
        sizes = [fan_in * fan_out for fan_in, fan_out in self.shapes]
        return 2 * (3 * sum(sizes) - sizes[0])

    @property
    def network(self):
        """Units of each layer, as text."""
        return "-".join(map(str, (self.features, *self.hidden, self.classes)))


WORKLOADS = {
    workload.name: workload
    for workload in (
        Workload("tiny", 1_000, 8, (32, 32), 3, 32, "relu", 60),
        Workload("digits", 1_797, 64, (100,), 10, 200, "relu", 40),
        Workload("tabular", 50_000, 54, (256, 256, 256), 7, 256, "relu", 1),
        Workload("mnist", 60_000, 784, (100,), 10, 200, "relu", 2),
        Workload("dmlp", 20_000, 784, (1024, 512, 512, 512), 10, 128, "tanh", 1),
    )
}


def make_data(workload, dtype="float32", seed=0):
    """X, standard normal, and y, the largest of `classes` random projections."""
    random = np.random.default_rng(seed)
    X = random.standard_normal((workload.rows, workload.features), dtype=np.float32)
    y = (X @ random.standard_normal((workload.features, workload.classes), dtype=np.float32)).argmax(axis=1)
    return X.astype(dtype), y


SPARSE = Workload("sparse", 20_000, 50_000, (64,), 10, 200, "relu", 1)
STORED = 50  # entries in a row: density 0.001


def make_sparse_data(workload, dtype="float64", seed=0):
    """X in CSR, STORED entries in each row, standard normal; y, the largest of `classes` random projections."""
    from scipy import sparse

    random = np.random.default_rng(seed)
    every = workload.features // STORED
    indices = random.integers(0, every, (workload.rows, STORED)) + every * np.arange(STORED)
    indptr = np.arange(0, indices.size + 1, STORED, dtype=np.int32)
    values = random.standard_normal(indices.size).astype(dtype)
    shape = (workload.rows, workload.features)
    X = sparse.csr_array((values, indices.ravel().astype(np.int32), indptr), shape)
    return X, (X @ random.standard_normal((workload.features, workload.classes))).argmax(axis=1)


class Start(NamedTuple):
    """Initial weights and biases of each layer, and the order of rows of each epoch."""

    coefs: list
    intercepts: list
    orders: list


def make_start(workload, dtype, epochs, seed=0):
    """What scikit-learn's MLPClassifier(random_state=seed) draws, in its order: the layers, then the epochs."""
    random = np.random.RandomState(seed)
    coefs, intercepts = [], []
    for fan_in, fan_out in workload.shapes:
        bound = np.sqrt(6 / (fan_in + fan_out))
        coefs.append(random.uniform(-bound, bound, (fan_in, fan_out)).astype(dtype))
        intercepts.append(random.uniform(-bound, bound, fan_out).astype(dtype))
    order, orders = np.arange(workload.rows), []
    for _ in range(epochs):
        shuffled = np.arange(workload.rows)
        random.shuffle(shuffled)
        order = order[shuffled]
        orders.append(order)
    return Start(coefs, intercepts, orders)


def mean_loss(workload, X, y, coefs, intercepts):
    """Mean cross-entropy of a network over all rows, in float64."""
    A = X.astype(np.float64)
    for layer, (W, b) in enumerate(zip(coefs, intercepts)):
        Z = A @ W.astype(np.float64) + b
        last = layer == len(workload.hidden)
        A = Z if last else np.maximum(Z, 0) if workload.activation == "relu" else np.tanh(Z)
    A -= A.max(axis=1, keepdims=True)
    return float(np.mean(np.log(np.exp(A).sum(axis=1)) - A[np.arange(len(y)), y]))
