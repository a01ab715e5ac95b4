"""Which columns of a table matter: how much worse the score becomes when one is shuffled."""

from collections.abc import Callable
from typing import Any

import numpy as np

from .encoder import TableEncoder

REPEATS = 5


def permutation_importance(
    encoded: np.ndarray, encoder: TableEncoder, score: Callable[[np.ndarray], float], random_state: Any
) -> np.ndarray:
    """The mean loss of score over five shuffles of each column of the table, dropped ones 0.

    All encoded columns of a column of the table are shuffled together.

    Parameters
    ----------
    encoded : float32 ndarray of shape (n_rows, n_encoded), as the encoder gives it; it is left as it was
    score : callable (encoded rows) -> float, higher is better

    Returns
    -------
    importances : ndarray of shape (n_features_in_,)

    Source: L. Breiman 2001, "Random forests", section 10; scikit-learn, ``sklearn.inspection.permutation_importance``.
    """
    best, work = score(encoded), encoded.copy()
    importances = np.zeros(encoder.n_features_in_)
    for column, (first, end) in enumerate(encoder.spans()):
        if first == end:
            continue
        losses = []
        for _ in range(REPEATS):
            work[:, first:end] = encoded[random_state.permutation(len(encoded)), first:end]
            losses.append(best - score(work))
        work[:, first:end] = encoded[:, first:end]
        importances[column] = np.mean(losses)
    return importances
