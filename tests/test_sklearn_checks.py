"""scikit-learn's own checks of an estimator, over solvers, threads and dtypes."""

import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

from fastmlp import MLPClassifier, MLPRegressor

ROUNDED = "the check's tolerance of 1e-7 lies below the resolution of float32"

ESTIMATORS = [
    MLPClassifier(),
    MLPClassifier(n_threads=2),
    MLPClassifier(solver="sgd", n_threads=1),
    MLPClassifier(solver="lbfgs", max_iter=100),  # with more, scikit-learn's own has probabilities of exactly 1
    MLPClassifier(dtype="float64", n_threads=2),
    MLPClassifier(dtype="float32"),
    MLPRegressor(),
    MLPRegressor(n_threads=2),
    MLPRegressor(solver="sgd", n_threads=1),
    MLPRegressor(solver="lbfgs"),
    MLPRegressor(dtype="float64", n_threads=2),
    MLPRegressor(dtype="float32"),
]


def rounded_by_float32(estimator):
    """The checks that float32 cannot pass: fitting with weights equals fitting repeated rows, to the seventh digit."""
    if estimator.dtype != "float32":
        return {}
    return dict.fromkeys(
        ("check_sample_weight_equivalence_on_dense_data", "check_sample_weight_equivalence_on_sparse_data"), ROUNDED
    )


@parametrize_with_checks(ESTIMATORS, expected_failed_checks=rounded_by_float32)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_scikit_learn_checks(estimator, check):
    check(estimator)
