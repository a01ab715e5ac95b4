"""The demo `deep-mnist`: a deep network as it was once trained, and what makes it better.

784-1024-512-512-512-10 with tanh everywhere, at the output too, and squared errors of one-hot targets, by Adam in
batches of 128. From weights of U(-0.05, 0.05), whatever the layer's size; then from Glorot's, whose range follows from
it; then in its modern form: relu with He's weights, softmax and cross-entropy, dropout, and a rate that fades away.
The rows for testing are looked at after each epoch, and decide nothing.

Adam's first steps are all of the size of the rate, whatever the gradient. From Glorot's wider weights they drive the
outputs, with some seeds, to where tanh is flat, and there they stay: so that its rate rises within the first epoch.

Sources: X. Glorot and Y. Bengio 2010, "Understanding the difficulty of training deep feedforward neural networks";
P. Goyal et al. 2017, "Accurate, large minibatch SGD", section 2.2; K. He et al. 2015, "Delving deep into rectifiers";
N. Srivastava et al. 2014, "Dropout", section 6.1.1; I. Loshchilov and F. Hutter 2017, "SGDR", equation 5.
"""

import time
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from .. import MLPClassifier
from ..initializers import Uniform
from ..inspection import summary
from ..plotting import COLOURS, DASHES, name_epochs
from ..schedules import Cosine, WarmUp
from . import Options
from .data import Data, handwritten
from .output import print_table, save_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

HIDDEN = (1024, 512, 512, 512)


class Course(NamedTuple):
    """What a training gave: accuracy on the rows for testing after each epoch, and the seconds that each epoch took."""

    accuracies: list[float]
    seconds: list[float]


def forms(epochs: int) -> dict[str, dict[str, Any]]:
    """The three networks, by what each is called: parameters of `MLPClassifier`."""
    once = {"activation": "tanh", "output_activation": "tanh", "loss": "squared_error"}
    modern = {"activation": "relu", "loss": "log_loss", "initializer": "he_uniform"}
    return {
        "tanh from U(-0.05, 0.05)": {**once, "initializer": Uniform(-0.05, 0.05)},
        "tanh from Glorot": {**once, "initializer": "glorot_uniform", "learning_rate": WarmUp(epochs=1)},
        "modern": {**modern, "dropout": [0.2, 0.3, 0.3, 0.3, 0.3], "learning_rate": Cosine(period=epochs)},
    }


def train(name: str, parameters: dict[str, Any], data: Data, epochs: int) -> Course:
    """Train epoch by epoch, and print the accuracy after each; only the training itself is timed."""
    classifier = MLPClassifier(HIDDEN, batch_size=128, alpha=0, random_state=0, **parameters)
    course, classes = Course([], []), np.unique(data.y_train)
    print(f"\n{name}")
    for epoch in range(1, epochs + 1):
        start = time.perf_counter()
        classifier.partial_fit(data.X_train, data.y_train, classes=classes)
        course.seconds.append(time.perf_counter() - start)
        course.accuracies.append(classifier.score(data.X_test, data.y_test))
        loss, accuracy = classifier.loss_, course.accuracies[-1]
        print(
            f"epoch {epoch:>3}   loss {loss:.5f}   test accuracy {accuracy:.2%}   {course.seconds[-1]:.2f} s",
            flush=True,
        )
    return course


def draw(figure: "Figure", courses: dict[str, Course], name: str) -> None:
    """Test error by epoch, the share of wrong answers, on a logarithmic axis."""
    from matplotlib.ticker import LogLocator

    ax = figure.subplots()
    for (form, course), colour, dashes in zip(courses.items(), COLOURS, DASHES):
        errors = 100 * (1 - np.array(course.accuracies))
        epochs, label = np.arange(1, len(errors) + 1), f"{form}: {errors[-1]:.2f} %"
        ax.plot(epochs, errors, color=colour, linestyle=dashes, label=label)
    ax.set(ylabel="test error in %", title=f"Four hidden layers on {name}")
    name_epochs(ax)
    ax.set_yscale("log", subs=[])
    ax.yaxis.set_major_locator(LogLocator(subs=(1, 1.5, 2, 3, 5, 7)))
    ax.yaxis.set_major_formatter("{x:g}")
    ax.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside lower center", ncols=len(courses), frameon=False)


def demonstrate(options: Options) -> None:
    """Train the three and compare them."""
    data, epochs = handwritten(options), options.budget(30, quick=3)
    print(data)
    print(summary((data.X_train.shape[1], *HIDDEN, 10), np.float32))
    courses = {name: train(name, parameters, data, epochs) for name, parameters in forms(epochs).items()}
    rows = [["", "test accuracy", "at best", "seconds per epoch"]]
    for name, (accuracies, seconds) in courses.items():
        rows.append([name, f"{accuracies[-1]:.2%}", f"{max(accuracies):.2%}", f"{np.median(seconds):.2f}"])
    print()
    print_table(rows, f"After {epochs} epochs of {data.name}")
    save_figure(lambda figure: draw(figure, courses, data.name), options.output / "deep_mnist.png", (7, 4.5))
