"""What components cost: activations, dropout and optimizers beside relu and Adam, and the classic deep network."""

import importlib.util

import numpy as np
import pytest

from benchmarks.contenders import BETA_1, BETA_2, EPSILON, RATE, fastmlp_side, sklearn_side
from benchmarks.contest import bar, race
from benchmarks.workloads import WORKLOADS, make_data, make_start

CHANGES = {  # of the estimator -> most times the epoch of relu and Adam
    "gelu": ({"activation": "gelu"}, 1.25),
    "gelu_tanh": ({"activation": "gelu_tanh"}, 1.25),
    "silu": ({"activation": "silu"}, 1.25),
    "mish": ({"activation": "mish"}, 1.25),
    "elu": ({"activation": "elu"}, 1.25),
    "dropout": ({"dropout": 0.5}, 1.15),
    "adamw": ({"solver": "adamw"}, 1.0),
    "rmsprop": ({"solver": "rmsprop"}, 1.0),
    "momentum": ({"solver": "momentum"}, 1.0),
    "batch normalization": ({"normalization": "batch"}, None),
    "layer normalization": ({"normalization": "layer"}, None),
}


def assert_learns_like_reference(workload, X, y, parameters):
    """One epoch of a few batches gives the reference's weights."""
    from fastmlp.core.network import Network
    from fastmlp.normalizations import NORMALIZATIONS
    from fastmlp.reference import Reference

    start = make_start(workload, X.dtype, 0)
    normalization = parameters.get("normalization")
    components = {
        "activation": parameters.get("activation", workload.activation),
        "optimizer": parameters.get("solver", "adam"),
        "dropout": [0.0] + [parameters.get("dropout", 0.0)] * len(workload.hidden),
        "normalization": normalization and NORMALIZATIONS.resolve(normalization),
        "loss": "log_loss",
    }
    network = Network((workload.features, *workload.hidden, workload.classes), dtype=X.dtype, **components)
    network.set_weights(start.coefs, start.intercepts)
    reference = Reference(start.coefs, start.intercepts, **components)
    order = np.arange(4 * workload.batch)
    with network.session(X, y, batch_size=workload.batch, n_threads=2) as session:
        got = session.epoch(order, learning_rate=RATE, seed=1)
    expected = reference.epoch(X, y, order, workload.batch, learning_rate=RATE, seed=1)
    assert got == pytest.approx(expected, rel=1e-4)


def test_words(benchmark):
    """All in one race, on tabular."""
    workload = WORKLOADS["tabular"]
    X, y = make_data(workload)
    for parameters, _ in CHANGES.values():
        assert_learns_like_reference(workload, X, y, parameters)
    fits = {"relu, adam": fastmlp_side(workload, X, y)}
    fits |= {component: fastmlp_side(workload, X, y, **parameters) for component, (parameters, _) in CHANGES.items()}
    best = race(benchmark, fits, workload.epochs)
    times = {component: best[component] / best["relu, adam"] for component in CHANGES}
    benchmark.extra_info["table"] = "components"
    benchmark.extra_info["row"] = {"× the epoch of relu and Adam, on": "tabular", **times}
    benchmark.extra_info["bars"] = [
        bar(f"tabular: time of {component} against relu and Adam", times[component], must=most, better="lower")
        for component, (_, most) in CHANGES.items()
        if most is not None
    ]


def torch_of_squares(workload, X, y):
    """PyTorch, tanh everywhere, squared error on one-hot targets."""
    import torch

    rows, batch = workload.rows, workload.batch
    X, targets = torch.from_numpy(X), torch.eye(workload.classes)[torch.from_numpy(y)]

    def fit(epochs, start=None):
        layers = []
        for layer, (fan_in, fan_out) in enumerate(workload.shapes):
            layers += [torch.nn.Linear(fan_in, fan_out), torch.nn.Tanh()]
            if start is not None:
                layers[-2].weight.data = torch.from_numpy(start.coefs[layer].T.copy())
                layers[-2].bias.data = torch.from_numpy(start.intercepts[layer].copy())
        model = torch.nn.Sequential(*layers)
        optimizer = torch.optim.Adam(model.parameters(), lr=RATE, betas=(BETA_1, BETA_2), eps=EPSILON, fused=True)
        losses = []
        for epoch in range(epochs):
            order = torch.randperm(rows) if start is None else torch.from_numpy(start.orders[epoch])
            for first in range(0, rows, batch):
                chosen = order[first : first + batch]
                optimizer.zero_grad(set_to_none=True)
                loss = 0.5 * ((model(X[chosen]) - targets[chosen]) ** 2).sum(dim=1).mean()
                loss.backward()
                optimizer.step()
                losses.append(float(loss.detach()) * len(chosen))
        return sum(losses[: -(-rows // batch)]) / rows

    return fit


def test_deep_tanh_network(benchmark):
    """784-1024-512-512-512-10, tanh everywhere, squared error on one-hot targets; scikit-learn: log loss."""
    workload = WORKLOADS["dmlp"]
    X, y = make_data(workload)
    components = {"activation": "tanh", "loss": "squared_error", "output_activation": "tanh"}
    fits = {"fastmlp": fastmlp_side(workload, X, y, **components), "scikit-learn": sklearn_side(workload, X, y)}
    if importlib.util.find_spec("torch") is not None:
        fits["PyTorch"] = torch_of_squares(workload, X, y)
    from fastmlp import MLPClassifier

    ours = MLPClassifier(
        workload.hidden, batch_size=workload.batch, alpha=0.0, max_iter=1, random_state=0, **components
    )
    ours.fit(X, y)
    if "PyTorch" in fits:
        theirs = fits["PyTorch"](1, make_start(workload, X.dtype, 1))
        assert ours.loss_ * workload.classes == pytest.approx(theirs, rel=2e-2)  # ours is the mean over the outputs
    best = race(benchmark, fits, workload.epochs)
    ratios = {side: seconds / best["fastmlp"] for side, seconds in best.items() if side != "fastmlp"}
    benchmark.extra_info["table"] = "deep tanh network"
    benchmark.extra_info["row"] = {
        "network": workload.network,
        "rows/s": workload.rows / best["fastmlp"],
        **{f"× {side}": ratio for side, ratio in ratios.items()},
    }
    benchmark.extra_info["bars"] = [
        bar(f"deep tanh network: speed against {side}", ratios[side], must=must)
        for side, must in {"PyTorch": 2.5, "scikit-learn": 4.0}.items()
        if side in ratios
    ]
