"""L-BFGS over a quadratic bowl: where it ends, what it says, and what ends it early."""

import warnings

import numpy as np
import pytest

from fastmlp.lbfgs import MinimizationSettings, minimize_lbfgs
from fastmlp.trainable import Parameters


class Bowl:
    """Network and session of loss = Σ (p - target)² / 2 over a matrix and a vector."""

    def __init__(self, dtype=np.float64, interrupt_at=None, curvature=1.0):
        self.dtype = np.dtype(dtype)
        self.coefs, self.intercepts = [np.zeros((2, 3), dtype)], [np.zeros(3, dtype)]
        self.targets = np.arange(6.0).reshape(2, 3), np.array([5.0, -1.0, 2.0])
        self.interrupt_at = interrupt_at
        self.curvature = curvature
        self.evaluations = 0

    def set_weights(self, coefs, intercepts):
        self.coefs = [np.asarray(coefs[0], dtype=self.dtype)]
        self.intercepts = [np.asarray(intercepts[0], dtype=self.dtype)]

    def weights(self):
        return [self.coefs[0].copy()], [self.intercepts[0].copy()]

    def gradient(self, *, alpha):
        self.evaluations += 1
        if self.evaluations == self.interrupt_at:
            raise KeyboardInterrupt
        scale = np.array([1.0, self.curvature, 3.0])
        differences = [self.coefs[0] - self.targets[0], self.intercepts[0] - self.targets[1]]
        loss = 0.5 * sum(float((scale * d**2).sum()) for d in differences)
        coef, intercept = ((scale * d).astype(self.dtype) for d in differences)
        return loss, Parameters([coef], [intercept], [])


def minimize(bowl, **options):
    messages = []
    settings = MinimizationSettings(**{"alpha": 0.0, "tol": 1e-6, "max_iter": 100, "max_fun": 1000, **options})
    return *minimize_lbfgs(bowl, bowl, settings, messages.append), messages


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_lbfgs_finds_the_minimum_in_the_dtype_of_the_network(dtype):
    bowl = Bowl(dtype)
    (coefs, intercepts), loss, n_iter, messages = minimize(bowl)
    np.testing.assert_allclose(coefs[0], bowl.targets[0], atol=1e-5)
    np.testing.assert_allclose(intercepts[0], bowl.targets[1], atol=1e-5)
    assert coefs[0].dtype == intercepts[0].dtype == dtype
    assert loss == pytest.approx(0, abs=1e-9)
    assert 0 < n_iter < 50
    assert messages == []


def test_lbfgs_warns_in_the_words_of_scikit_learn():
    _, _, n_iter, messages = minimize(Bowl(curvature=100.0), max_iter=1)
    assert n_iter == 1
    assert messages[0].startswith("lbfgs failed to converge after 1 iteration(s) (status=1):\n")
    assert "Increase the number of iterations to improve the convergence (max_iter=1)." in messages[0]


def test_lbfgs_interrupted_keeps_the_latest_iterate():
    uninterrupted = minimize(Bowl(curvature=100.0), max_iter=2)
    bowl = Bowl(curvature=100.0)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        bowl.interrupt_at = 6
        (coefs, _), loss, n_iter, _ = minimize(bowl)
    assert [str(w.message) for w in caught] == ["Training interrupted by user."]
    assert n_iter >= 2
    assert loss <= uninterrupted[1]
    assert np.isfinite(coefs[0]).all()


def test_lbfgs_reports_weights_that_are_not_finite():
    bowl = Bowl()
    bowl.coefs[0][0, 0] = np.nan
    (coefs, _), _, _, messages = minimize(bowl)
    assert np.isnan(coefs[0][0, 0])
    assert messages[-1].startswith("Training diverged in iteration ")
    assert "learning_rate" not in messages[-1]


def test_a_line_for_each_iteration(capsys):
    _, _, n_iter, _ = minimize(Bowl(curvature=100.0), verbose=True, name=", network 2 of 3")
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == n_iter
    assert all(line.startswith(f"Iteration {n}, loss = ") for n, line in enumerate(lines, 1))
    assert all(line.endswith(" s, network 2 of 3") for line in lines)


def test_the_time_is_over_after_an_iteration():
    (coefs, _), loss, n_iter, messages = minimize(Bowl(curvature=100.0), max_time=1e-9)
    assert n_iter == 1
    assert messages == [
        "Training ended after 1 iterations, when max_time=1e-09 seconds were over; the latest weights are kept."
    ]
    assert coefs[0].any()
    assert loss < minimize(Bowl(curvature=100.0), max_iter=1)[1] * 1.001
