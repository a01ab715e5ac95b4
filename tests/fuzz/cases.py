"""Random models and data of the fuzzer, and what must hold of each."""

import itertools
import pickle
import warnings
from unittest import mock

import numpy as np
from scipy import sparse
from sklearn.base import clone

from fastmlp import MLPClassifier, MLPRegressor
from fastmlp.activations import ACTIVATIONS, ELU, LeakyReLU
from fastmlp.losses import LOSSES, Focal, Huber, LogLoss, Quantile
from fastmlp.machine.pacing import Pacing
from fastmlp.normalizations import BatchNormalization, LayerNormalization
from fastmlp.optimizers import OPTIMIZERS, AdaGrad, Adam, AdamW, Gradient, Lion

from .independent import BACKEND, Perceptron

RANDOM_ROWS = (1, 2, 3, 7, 16, 33, 64, 100, 257, 700, 1300)
ERRORS = ("squared_error", "absolute_error", "huber", "log_cosh", "quantile", "poisson", "gamma")


def pick(random, *values):
    """One of the values."""
    return values[random.integers(len(values))]


class Case:
    """A random estimator with its data; the same for the same seed.

    Parameters
    ----------
    seed : int
    dtype : "float64" where it is compared with another implementation
    """

    def __init__(self, seed, *, dtype="float64"):
        random = self.random = np.random.default_rng(seed)
        self.seed = seed
        self.rows = int(pick(random, *RANDOM_ROWS[2:]))
        depth = int(random.integers(0, 4))
        widths = (1, 2, 3, 5, 8, 9, 16, 17, 24, 25, 33, 40, 65, 100)
        self.hidden = tuple(int(pick(random, *widths)) for _ in range(depth))
        self.features = int(pick(random, *widths))
        self.classifies = bool(random.integers(2))
        self.normalization = pick(random, None, None, LayerNormalization(), BatchNormalization(momentum=0.3))
        if not self.hidden:
            self.normalization = None
        if isinstance(self.normalization, LayerNormalization):
            self.hidden = tuple(max(2, width) for width in self.hidden)  # one unit alone has no variance
        self.activations = [self._activation() for _ in self.hidden]
        self.sparse = self.rows < 400 and not random.integers(4)
        self.X = random.normal(size=(self.rows, self.features))
        if self.sparse:
            self.X[random.random(self.X.shape) < 0.7] = 0
        self._targets()
        self.weights = random.uniform(0.2, 2, self.rows) if not random.integers(3) else None
        self.batch = int(random.integers(1, self.rows + 1))
        if self.rows // self.batch > 40:
            self.batch = -(-self.rows // 40)
        if isinstance(self.normalization, BatchNormalization) and (self.batch == 1 or self.rows % self.batch == 1):
            self.batch = self.rows  # a batch of one row has no variance
        self.optimizer = self._optimizer()
        self.settings = {
            "learning_rate": float(random.uniform(1e-3, 2e-2)),
            "alpha": float(pick(random, 0.0, 1e-4, 0.1)),
            "l1": float(pick(random, 0.0, 0.0, 0.01)),
            "clip_value": pick(random, None, None, 0.05),
            "clip_norm": pick(random, None, None, 0.3),
            "max_norm": pick(random, None, None, 1.0),
        }
        self.epochs = int(random.integers(1, 4))
        self.dtype = dtype

    def _activation(self):
        names = [name for name, cls in ACTIVATIONS.items() if cls.name == name]
        name = pick(self.random, *names)
        return {"leaky_relu": LeakyReLU(0.2), "elu": ELU(0.7)}.get(name, ACTIVATIONS[name]())

    def _optimizer(self):
        """One whose steps do not turn rounding into numbers: the bias below a normalization has a gradient of 0."""
        cls = pick(self.random, *[cls for cls in OPTIMIZERS.classes if cls is not Gradient])
        if self.normalization is not None and cls in (Lion, AdaGrad):
            cls = Adam
        return AdamW(weight_decay=0.1) if cls is AdamW else cls()

    def _targets(self):
        random = self.random
        if self.classifies:
            self.loss = pick(
                random, LogLoss(), LogLoss(label_smoothing=0.2), Focal(gamma=1.5), LOSSES["kl_divergence"]()
            )
            kind = pick(random, "binary", "classes", "multilabel")
            self.outputs = {
                "binary": 1,
                "classes": int(random.integers(3, 18)),
                "multilabel": int(random.integers(2, 6)),
            }[kind]
            self.output = "logistic"
            if self.loss.name == "kl_divergence":
                self.outputs, self.output = max(self.outputs, 2), "softmax"
                self.y = self.t = random.dirichlet(np.ones(self.outputs), self.rows)
            elif kind == "multilabel":
                self.y = random.integers(0, 2, (self.rows, self.outputs))
                self.t = self.y.astype(float)
            else:
                classes = 2 if kind == "binary" else self.outputs
                self.y = random.integers(0, classes, self.rows)
                self.y[: min(classes, self.rows)] = np.arange(min(classes, self.rows))
                found = np.unique(self.y)
                classes, self.y = len(found), np.searchsorted(found, self.y)
                self.outputs = 1 if classes <= 2 else classes
                self.output = "logistic" if self.outputs == 1 else "softmax"
                self.t = self.y[:, None].astype(float) if self.outputs == 1 else np.eye(classes)[self.y]
            return
        name = pick(random, *ERRORS)
        self.loss = {"huber": Huber(0.4), "quantile": Quantile((0.2, 0.5, 0.9))}.get(name, LOSSES[name]())
        self.outputs = 1 if name in ("poisson", "gamma") else int(random.integers(1, 5))
        if name == "quantile":
            self.outputs = 3
        self.output = self.loss.outputs[0] if random.integers(2) else pick(random, *self.loss.outputs)
        y = random.normal(size=(self.rows, self.outputs))
        if name == "poisson":
            y = random.poisson(2.0, y.shape).astype(float)
        if name == "gamma":
            y = random.gamma(2.0, size=y.shape) + 0.1
        if name == "quantile":
            y = np.repeat(y[:, :1], 3, axis=1)
        self.t, self.y = y, y[:, 0] if self.outputs == 1 or name == "quantile" else y

    def __repr__(self):
        keep = {k: v for k, v in vars(self).items() if k not in ("X", "y", "t", "weights", "random", "start")}
        return f"Case({', '.join(f'{k}={v!r}' for k, v in keep.items())}, weighted={self.weights is not None})"

    def start_weights(self):
        """(coefs, intercepts) to begin from."""
        random = np.random.default_rng(self.seed + 1)
        units = (self.features, *self.hidden, self.outputs)
        coefs = [random.normal(size=shape) / shape[0] ** 0.5 for shape in itertools.pairwise(units)]
        return coefs, [0.3 * random.normal(size=n) for n in units[1:]]

    def estimator(self, **parameters):
        """The estimator, not fitted."""
        cls = MLPClassifier if self.classifies else MLPRegressor
        settings = {("learning_rate_init" if k == "learning_rate" else k): v for k, v in self.settings.items()}
        return cls(
            **{
                "hidden_layer_sizes": self.hidden,
                "activation": self.activations if self.hidden else "relu",
                "loss": self.loss,
                "output_activation": self.output,
                "normalization": self.normalization,
                "solver": self.optimizer,
                "initializer": self.start_weights(),
                "batch_size": self.batch,
                "shuffle": False,
                "max_iter": self.epochs,
                "tol": 0.0,
                "n_iter_no_change": np.inf,
                "random_state": 0,
                "dtype": self.dtype,
                "n_threads": 1,
                **settings,
                **parameters,
            }
        )

    def inputs(self):
        """X as it is given to fit."""
        return sparse.csr_array(self.X) if self.sparse else self.X

    def fitted(self, **parameters):
        """The estimator after fit; slices between two returns to Python are as short as the seed says."""
        short = float(np.random.default_rng(self.seed).choice([1.0, 1e4, 1e6, 2e9]))
        with warnings.catch_warnings(), mock.patch.object(Pacing, "operations", return_value=short):
            warnings.simplefilter("ignore")
            return self.estimator(**parameters).fit(self.inputs(), self.y, self.weights)

    def outputs_of(self, model, X):
        """Probabilities or numbers for rows, of shape (n_rows, n_outputs)."""
        if not self.classifies:
            return model.predict(X).reshape(X.shape[0], -1)
        P = model.predict_proba(X)
        return P[:, 1:] if self.outputs == 1 else P


def check_against_independent(seed, backend=BACKEND):
    """Loss curve, weights and predictions are those of another implementation, in float64."""
    case = Case(seed)
    model = case.fitted()
    other = Perceptron(
        *case.start_weights(),
        activations=case.activations,
        loss=case.loss,
        output=case.output,
        normalization=case.normalization,
        optimizer=case.optimizer,
        backend=backend,
    )
    weights = np.ones(case.rows) if case.weights is None else case.weights
    curve = other.fit(case.X, case.t, weights, case.batch, case.epochs, **case.settings)
    tolerance = 1e-6  # several steps of optimizers that divide a gradient by its own size
    np.testing.assert_allclose(model.loss_curve_, curve, rtol=tolerance, atol=tolerance)
    if not isinstance(case.normalization, BatchNormalization):
        for n, (W, b) in enumerate(zip(model.coefs_, model.intercepts_, strict=True)):
            assert_near(W, other.parameters["W", n], tolerance)
            assert_near(b, other.parameters["b", n][0], tolerance)
    assert_near(case.outputs_of(model, case.inputs()), other.predict(case.X), tolerance)


def assert_near(found, expected, tolerance):
    """Equal up to a share of the largest number."""
    scale = abs(expected).max() + 1e-3
    np.testing.assert_allclose(found / scale, expected / scale, rtol=0, atol=tolerance)


def check_threads(seed):
    """The same bits for one, two and three threads."""
    case = Case(seed, dtype=pick(np.random.default_rng(seed), "float32", "float64"))
    parameters = {"dropout": 0.3} if case.hidden and seed % 2 else {}
    models = [case.fitted(n_threads=n, **parameters) for n in (1, 2, 3)]
    for other in models[1:]:
        assert_same(models[0].coefs_ + models[0].intercepts_, other.coefs_ + other.intercepts_)
        assert models[0].loss_curve_ == other.loss_curve_
        assert_same([case.outputs_of(models[0], case.inputs())], [case.outputs_of(other, case.inputs())])


def check_going_on(seed):
    """partial_fit of two calls is that of one; a pickle goes on, and starts warm, exactly as its original."""
    case = Case(seed, dtype=pick(np.random.default_rng(seed), "float32", "float64"))
    parameters = {"dropout": 0.2} if case.hidden and seed % 2 else {}
    known_classes = np.unique(case.y) if case.y.ndim == 1 else np.arange(case.outputs)
    classes = {"classes": known_classes} if case.classifies else {}

    def part(model, epochs):
        known = {} if hasattr(model, "coefs_") else classes
        return model.partial_fit(case.inputs(), case.y, case.weights, n_epochs=epochs, **known)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        whole = part(case.estimator(**parameters), 5)
        parts = part(part(case.estimator(**parameters), 2), 3)
        stored = part(pickle.loads(pickle.dumps(part(case.estimator(**parameters), 2))), 3)
        for model in (parts, stored):
            assert_same(whole.coefs_ + whole.intercepts_, model.coefs_ + model.intercepts_)
            assert whole.loss_curve_ == model.loss_curve_
        original = case.fitted(**parameters).set_params(warm_start=True)
        copied = pickle.loads(pickle.dumps(original))
        for model in (original, copied):
            model.fit(case.inputs(), case.y, case.weights)
        assert_same(original.coefs_ + original.intercepts_, copied.coefs_ + copied.intercepts_)
        again = clone(original).set_params(warm_start=False).fit(case.inputs(), case.y, case.weights)
        assert_same(again.coefs_, case.fitted(**parameters).coefs_)


def check_rows_alone(seed):
    """A row's prediction does not depend on its neighbours."""
    case = Case(seed, dtype=pick(np.random.default_rng(seed), "float32", "float64"))
    model = case.fitted()
    X = case.inputs()
    together = case.outputs_of(model, X)
    for n in np.random.default_rng(seed).integers(0, case.rows, 4):
        assert_same([together[n : n + 1]], [case.outputs_of(model, X[[n]])])
    half = case.rows // 2
    if half:
        assert_same([together[half:]], [case.outputs_of(model, X[half:])])


def assert_same(ours, theirs):
    """Equal to the bit."""
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(a, b)


CHECKS = (check_against_independent, check_threads, check_going_on, check_rows_alone)
