"""Who trains a workload: fastmlp, its NumPy reference, scikit-learn, PyTorch, JAX; each in its fastest ordinary form.

A side is made by `make(workload, X, y)` and is a function `fit(epochs, start=None)` that trains a new network and
returns its weights and biases. With a `Start` the network begins at its weights and follows its orders of rows (to
compare answers); without, the side draws both itself (to be timed).
"""

import importlib.util
import warnings

import numpy as np

from benchmarks.workloads import make_start

SEED = 0  # of a Start as well: scikit-learn and fastmlp draw it themselves
RATE, BETA_1, BETA_2, EPSILON = 1e-3, 0.9, 0.999, 1e-8  # everybody's Adam


def estimator_fit(estimator_class, workload, X, y, **parameters):
    """A fit of scikit-learn's class, or of ours; `parameters` come last."""
    common = {
        "activation": workload.activation,
        "batch_size": workload.batch,
        "alpha": 0.0,
        "tol": 0.0,
        "n_iter_no_change": 10**6,
        "random_state": SEED,
    }

    def fit(epochs, start=None):
        estimator = estimator_class(workload.hidden, max_iter=epochs, **{**common, **parameters})
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # not converged
            estimator.fit(X, y)
        return estimator.coefs_, estimator.intercepts_

    return fit


def fastmlp_side(workload, X, y, n_threads=2, **parameters):
    """This package's estimator."""
    from fastmlp import MLPClassifier

    return estimator_fit(MLPClassifier, workload, X, y, n_threads=n_threads, **parameters)


def reference_side(workload, X, y):
    """The passes of `fastmlp/reference.py`: plain NumPy, whole arrays."""
    from fastmlp.optimizers import Adam
    from fastmlp.reference import Reference

    batches = -(-workload.rows // workload.batch)
    components = {"activation": workload.activation, "loss": "log_loss", "optimizer": Adam(BETA_1, BETA_2, EPSILON)}

    def fit(epochs, start=None):
        start = make_start(workload, X.dtype, epochs, SEED) if start is None else start
        network = Reference(start.coefs, start.intercepts, **components)
        for epoch, order in enumerate(start.orders[:epochs]):
            network.epoch(X, y, order, workload.batch, step=epoch * batches, learning_rate=RATE)
        return network.weights()

    return fit


def sklearn_side(workload, X, y):
    """scikit-learn's estimator."""
    from sklearn.neural_network import MLPClassifier

    return estimator_fit(MLPClassifier, workload, X, y)


def torch_side(workload, X, y):
    """PyTorch, eager, with fused Adam: at these sizes torch.compile gains less than a tenth."""
    import torch

    activation = {"relu": torch.nn.ReLU, "tanh": torch.nn.Tanh}[workload.activation]
    rows, batch = workload.rows, workload.batch
    X, y = torch.from_numpy(X), torch.from_numpy(y)
    cross_entropy = torch.nn.CrossEntropyLoss()

    def make_model(start):
        layers = []
        for layer, (fan_in, fan_out) in enumerate(workload.shapes):
            layers.append(torch.nn.Linear(fan_in, fan_out))
            if start is not None:
                layers[-1].weight.data = torch.from_numpy(start.coefs[layer].T.copy())
                layers[-1].bias.data = torch.from_numpy(start.intercepts[layer].copy())
            layers.append(activation())
        return torch.nn.Sequential(*layers[:-1])

    def fit(epochs, start=None):
        model = make_model(start)
        optimizer = torch.optim.Adam(model.parameters(), lr=RATE, betas=(BETA_1, BETA_2), eps=EPSILON, fused=True)
        for epoch in range(epochs):
            order = torch.randperm(rows) if start is None else torch.from_numpy(start.orders[epoch])
            for first in range(0, rows, batch):
                chosen = order[first : first + batch]
                optimizer.zero_grad(set_to_none=True)
                cross_entropy(model(X[chosen]), y[chosen]).backward()
                optimizer.step()
        linear = [layer for layer in model if isinstance(layer, torch.nn.Linear)]
        return [part.weight.detach().numpy().T for part in linear], [part.bias.detach().numpy() for part in linear]

    return fit


def jax_side(workload, X, y):
    """JAX, the whole epoch as one jitted function: permutation, scan over the batches, the last, smaller batch."""
    import jax
    import jax.numpy as jnp
    import optax

    activation = {"relu": jax.nn.relu, "tanh": jnp.tanh}[workload.activation]
    X, y = jnp.asarray(X), jnp.asarray(y)
    whole = workload.rows - workload.rows % workload.batch
    optimizer = optax.adam(RATE, BETA_1, BETA_2, EPSILON)

    def loss(parameters, x, labels):
        for W, b in parameters[:-1]:
            x = activation(x @ W + b)
        W, b = parameters[-1]
        return optax.softmax_cross_entropy_with_integer_labels(x @ W + b, labels).mean()

    def step(state, chosen):
        parameters, moments = state
        updates, moments = optimizer.update(jax.grad(loss)(parameters, X[chosen], y[chosen]), moments)
        return (optax.apply_updates(parameters, updates), moments), None

    def epoch_in_order(state, order):
        state, _ = jax.lax.scan(step, state, order[:whole].reshape(-1, workload.batch))
        return state if whole == workload.rows else step(state, order[whole:])[0]

    given = jax.jit(epoch_in_order)
    drawn = jax.jit(lambda state, key: epoch_in_order(state, jax.random.permutation(key, workload.rows)))
    own = make_start(workload, "float32", 0)

    def fit(epochs, start=None):
        begin = own if start is None else start
        parameters = [(jnp.asarray(W), jnp.asarray(b)) for W, b in zip(begin.coefs, begin.intercepts)]
        state = parameters, optimizer.init(parameters)
        for epoch in range(epochs):
            if start is None:
                state = drawn(state, jax.random.PRNGKey(epoch))
            else:
                state = given(state, jnp.asarray(start.orders[epoch]))
        jax.block_until_ready(state)
        return [np.asarray(W) for W, _ in state[0]], [np.asarray(b) for _, b in state[0]]

    return fit


SIDES = {  # side -> (what must be installed, how to make it)
    "fastmlp": ("fastmlp", fastmlp_side),
    "NumPy reference": ("fastmlp", reference_side),
    "scikit-learn": ("sklearn", sklearn_side),
    "PyTorch": ("torch", torch_side),
    "JAX": ("jax", jax_side),
}


def installed_sides(workload, X, y):
    """A fit for each side that is installed here, fastmlp first."""
    return {
        side: make(workload, X, y)
        for side, (module, make) in SIDES.items()
        if importlib.util.find_spec(module) is not None
    }
