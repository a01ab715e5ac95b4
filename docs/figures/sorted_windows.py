"""Accuracy after each epoch on rows sorted by class: in windows from all over the data, and in their own order."""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from fastmlp import MLPClassifier, blocks
from fastmlp.plotting import COLOURS

X, y = load_digits(return_X_y=True)
X, X_val, y, y_val = train_test_split((X / 16).astype("float32"), y, random_state=0)
order = np.argsort(y, kind="stable")


class InOrder:
    """A source that is read from its beginning to its end."""

    def blocks(self):
        yield from ((X[rows], y[rows]) for rows in np.array_split(order, 84))


sides = {
    "shuffled, in memory": (X, y),
    "sorted by class, windows of an eighth": (blocks.from_arrays(X[order], y[order]).with_window(len(X) // 8),),
    "sorted by class, read in order, the same windows": (blocks.from_iterable(InOrder()).with_window(len(X) // 8),),
}
fig, ax = plt.subplots(figsize=(6.4, 3.2), layout="constrained")
for (name, data), colour in zip(sides.items(), COLOURS, strict=False):
    model = MLPClassifier((64,), batch_size=32, random_state=0)
    accuracy = [model.partial_fit(*data, classes=range(10)).score(X_val, y_val) for _ in range(15)]
    ax.plot(range(1, 16), accuracy, label=name, color=colour)
ax.set(xlabel="epoch", ylabel="accuracy on other rows", ylim=(0, 1.02))
ax.legend(loc="lower right", frameon=False)
