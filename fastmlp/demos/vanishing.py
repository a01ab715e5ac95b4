"""The demo `vanishing`: what ten layers make of a signal on its way up, and of its gradient on its way down.

Ten hidden layers of 100 units, untrained, see standardized pixels. With N(0, 1) logistic and tanh units saturate, and
relu's signal grows with each layer; with N(0, 0.01²) the signal dies away, so that all units of a layer say the same.
Xavier's variance keeps tanh's signal alive, He's keeps relu's. The logistic function's slope is at most 1/4, so that
its gradient vanishes from all of them but the largest. The histograms leave out the zeros of relu.

Sources: S. Hochreiter 1991, "Untersuchungen zu dynamischen neuronalen Netzen"; X. Glorot and Y. Bengio 2010,
"Understanding the difficulty of training deep feedforward neural networks", figures 6 and 7; K. He et al. 2015,
"Delving deep into rectifiers"; the histograms after K. Saitoh, "Deep learning from scratch" (2016), section 6.2.
"""

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..activations import Activation, LeakyReLU, Logistic, ReLU, Tanh
from ..core.network import Network
from ..initializers import GlorotNormal, HeNormal, Initializer, Normal, initial_weights
from ..inspection import activation_statistics, gradient_statistics
from ..plotting import COLOURS, DASHES, ActivationHistogramDisplay, legend_beside
from . import Options
from .data import handwritten
from .output import print_table, save_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LAYERS, UNITS = 10, 100
ACTIVATIONS: dict[str, tuple[Activation, tuple[float, float]]] = {  # with the outputs that histograms show
    "logistic": (Logistic(), (0, 1)),
    "tanh": (Tanh(), (-1, 1)),
    "relu": (ReLU(), (0, 2)),
    "leaky relu": (LeakyReLU(slope=0.2), (-0.5, 2)),
}
INITIALIZERS: dict[str, Initializer] = {
    "N(0, 1)": Normal(1.0),
    "N(0, 0.01²)": Normal(0.01),
    "Xavier": GlorotNormal(),
    "He": HeNormal(),
}


def untrained(activation: Activation, initializer: Initializer, n_features: int) -> Network:
    """A network as it is before its training."""
    units = (n_features, *[UNITS] * LAYERS, 10)
    dtype, random_state = np.dtype(np.float64), np.random.RandomState(0)
    network = Network(units, dtype=dtype, activation=activation, loss="log_loss", optimizer="gradient")
    weights = initial_weights(units, random_state, dtype=dtype, activation=activation.name, initializer=initializer)
    network.set_weights(*weights)
    return network


def draw(
    figure: "Figure",
    networks: dict[tuple[str, str], Network],
    norms: dict[tuple[str, str], list[float]],
    X: NDArray[Any],
) -> None:
    """A row for each activation: histograms of the outputs for each initializer, then the norms of the gradients."""
    axes = figure.subplots(len(ACTIVATIONS), len(INITIALIZERS) + 1)
    for (activation, (_, limits)), row in zip(ACTIVATIONS.items(), axes):
        for start, ax, colour, dashes in zip(INITIALIZERS, row, COLOURS, DASHES):
            ActivationHistogramDisplay.from_estimator(networks[activation, start], X, limits=limits, ax=ax)
            ax.set(xlabel="", ylabel=f"{activation}\nlayer" if start == "N(0, 1)" else "")
            ax.set_yticks(np.array([1, 5, 10]) - 0.6, ["1", "5", "10"])
            row[-1].plot(range(1, LAYERS + 2), norms[activation, start], color=colour, linestyle=dashes, label=start)
        row[-1].set(yscale="log", xticks=[1, 6, 11])
        row[-1].spines[["top", "right"]].set_visible(False)
    for title, ax in zip([*INITIALIZERS, "norm of the gradient"], axes[0]):
        ax.set_title(title)
    for ax in axes[-1]:
        ax.set_xlabel("output")
    axes[-1, -1].set_xlabel("layer")
    legend_beside(axes[0, -1])


def demonstrate(options: Options) -> None:
    """Look at every activation from every start, as a table and as a figure."""
    data = handwritten(options)
    rows = 100 if options.quick else 1000
    X, y = data.X_train[:rows].astype(float), data.y_train[:rows]
    X = (X - X.mean()) / X.std()
    networks, norms, table = {}, {}, [["activation", "weights", "std of outputs", "saturated", "norm of the gradient"]]
    for activation, (component, _) in ACTIVATIONS.items():
        for start, initializer in INITIALIZERS.items():
            network = networks[activation, start] = untrained(component, initializer, X.shape[1])
            outputs = activation_statistics(network, X)
            norm = norms[activation, start] = gradient_statistics(network, X, y)["norm"]
            std = f"{outputs[1].std:.2g} → {outputs[LAYERS].std:.2g}"
            table.append(
                [activation, start, std, f"{outputs[LAYERS].saturated:.0%}", f"{norm[-1]:.1e} → {norm[0]:.1e}"]
            )
    print_table(
        table, f"{data.name}: outputs from layer 1 up to {LAYERS}, gradients from the last layer down to the first"
    )
    save_figure(lambda figure: draw(figure, networks, norms, X), options.output / "vanishing.png", (15, 10))
