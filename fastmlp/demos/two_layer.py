"""The demo `two-layer`: the first network that one writes in NumPy, and its compiled twin.

Pixels, 50 hidden units with the logistic function, softmax of 10 classes, cross-entropy. Backpropagation is checked
against central differences first, which need nothing but the loss. Then the same network is trained by all rows at
once, by one row at a time, and by batches between them: as many rows are seen, but they make few or many updates. The
NumPy side is `fastmlp.reference`, to be read beside it; both sides start from the same weights, see the same rows in
the same order, and compute in float64, so that they arrive at the same network.

Source: K. Saitoh, "Deep learning from scratch" (O'Reilly Japan 2016), chapters 4 and 5.
"""

import time
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..core.network import Network
from ..initializers import GlorotNormal, initial_weights
from ..inspection import numerical_gradient
from ..reference import Reference
from . import Options
from .data import Data, handwritten
from .output import print_table

HIDDEN = 50
COMPONENTS: dict[str, Any] = {"activation": "logistic", "loss": "log_loss", "output": "softmax"}


class Outcome(NamedTuple):
    """What a training gave, and how long it took."""

    loss: float
    accuracy: float
    seconds: float
    coefs: list[NDArray[Any]]


def first_weights(data: Data) -> tuple[list[NDArray[Any]], list[NDArray[Any]]]:
    """Where every training here starts."""
    units = data.X_train.shape[1], HIDDEN, 10
    dtype, random_state = np.dtype(np.float64), np.random.RandomState(0)
    return initial_weights(units, random_state, dtype=dtype, activation="logistic", initializer=GlorotNormal())


def gradient_check(data: Data, rows: int = 5, numbers: int = 100) -> list[list[str]]:
    """Both gradients of the loss of a few rows, by some weights of each layer, as a table."""
    network = Reference(*first_weights(data), optimizer="gradient_descent", **COMPONENTS)
    X, y, random_state = data.X_train[:rows].astype(float), data.y_train[:rows], np.random.RandomState(0)
    session = network.session(X, y, batch_size=rows)
    _, gradient = session.gradient()
    table = [["weights", "checked", "largest", "largest difference"]]
    for layer, (W, by_backpropagation) in enumerate(zip(network.weights()[0], gradient.coefs)):
        some = random_state.choice(W.size, numbers, replace=False)
        weights = W.flat[some]

        def loss(values: NDArray[Any], W: NDArray[Any] = W, some: NDArray[Any] = some) -> float:
            W.flat[some] = values
            return float(session.gradient()[0])

        by_differences = numerical_gradient(loss, weights)
        W.flat[some] = weights
        difference = abs(by_differences - by_backpropagation.flat[some]).max()
        shape = " × ".join(map(str, W.shape))
        table.append(
            [f"{shape}, layer {layer + 1}", str(numbers), f"{abs(by_differences).max():.1e}", f"{difference:.1e}"]
        )
    return table


def train(network: Network | Reference, data: Data, epochs: int, batch: int, rate: float) -> Outcome:
    """Gradient descent, by the network in NumPy or by the compiled one."""
    X, X_test, rows = data.X_train.astype(float), data.X_test.astype(float), len(data.X_train)
    random_state = np.random.RandomState(0)
    start = time.perf_counter()
    with network.session(X, data.y_train, batch_size=batch) as session:
        for _ in range(epochs):
            loss = session.epoch(random_state.permutation(rows), learning_rate=rate)
    seconds = time.perf_counter() - start
    coefs, intercepts = network.weights()
    outputs = Reference(coefs, intercepts, optimizer="gradient_descent", **COMPONENTS).predict(X_test)
    return Outcome(loss, float((outputs.argmax(axis=1) == data.y_test).mean()), seconds, coefs)


def demonstrate(options: Options) -> None:
    """Check, train, compare."""
    data = handwritten(options)
    print(data)
    print_table(gradient_check(data), "\nThe gradient by central differences and by backpropagation")

    rows, epochs = len(data.X_train), options.budget(20 if data.name == "digits" else 3, quick=3)
    table = [["batch", "rate", "updates", "loss", "accuracy", "NumPy s", "fastmlp s", "ratio"]]
    coefs, intercepts = first_weights(data)
    compiled = Network((len(coefs[0]), HIDDEN, 10), dtype=np.float64, optimizer="gradient_descent", **COMPONENTS)
    train(compiled, data, 1, rows, 0.0)  # compiles
    furthest = 0.0
    for name, batch, rate in (("all", rows, 1.0), ("100", 100, 0.5), ("1", 1, 0.05)):
        compiled.set_weights(coefs, intercepts)
        ours = train(compiled, data, epochs, batch, rate)
        theirs = train(
            Reference(coefs, intercepts, optimizer="gradient_descent", **COMPONENTS), data, epochs, batch, rate
        )
        furthest = max(furthest, *(abs(W - V).max() for W, V in zip(ours.coefs, theirs.coefs)))
        accuracy = f"{theirs.accuracy:.2%}" if ours.accuracy == theirs.accuracy else "different"
        seconds = f"{theirs.seconds:.3f}", f"{ours.seconds:.3f}", f"{theirs.seconds / ours.seconds:.1f}×"
        table.append([name, f"{rate:g}", f"{-(-rows // batch):,}", f"{theirs.loss:.4f}", accuracy, *seconds])
    print_table(table, f"\n{epochs} epochs from the same weights, with so many updates in each")
    print(f"Both networks have the same weights, to {furthest:.0e}.")
