"""scikit-learn's own checks of an estimator, over solvers, threads and dtypes."""

import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

from fastmlp import MLPClassifier, MLPRegressor

ROUNDED = "the check's tolerance of 1e-7 lies below the resolution of float32"

# Each solver, number of threads and dtype, though not each with each other: that the number of threads changes no bit
# is tested elsewhere, and a team of two takes five times as long for what is so small.
CHOICES = (("adam", None, "auto"), ("adam", 1, "float64"), ("sgd", 2, "float32"), ("lbfgs", 1, "auto"))

ESTIMATORS = [
    # With more iterations of L-BFGS probabilities reach 1, as scikit-learn's own do, and a check wants less.
    estimator_class(solver=solver, n_threads=n_threads, dtype=dtype, max_iter=30 if solver == "lbfgs" else 200)
    for estimator_class in (MLPClassifier, MLPRegressor)
    for solver, n_threads, dtype in CHOICES
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
def test_scikit_learn_checks(estimator, check, monkeypatch):
    monkeypatch.setenv("SCIPY_ARRAY_API", "1")  # the check with array API dispatch asks for it
    check(estimator)
