"""What the estimators need of scikit-learn beside its public interface, item by item; seen to work with 1.9.1.

Where one fails on a new version, `fastmlp/estimators/sklearn_internals.py` says what it is for.
"""

import sys
from numbers import Integral, Real

import numpy as np
import pytest
import sklearn
from sklearn import neural_network
from sklearn.base import BaseEstimator
from source_files import module_of

from fastmlp import MLPClassifier
from fastmlp.estimators import sklearn_internals as internals


def again(name):
    """The module, imported once more under another name."""
    return module_of(internals.__file__, f"fastmlp.estimators.{name}")


def test_every_item_is_there():
    assert not [name for name in internals.__all__ if not hasattr(internals, name)]


@pytest.mark.parametrize("gone", ["_param_validation", "multiclass", "validation"])
def test_a_version_without_an_item_is_refused(gone, monkeypatch):
    monkeypatch.setitem(sys.modules, f"sklearn.utils.{gone}", None)
    oldest, newest = internals.SEEN_TO_WORK
    message = rf"works with scikit-learn {oldest} to {newest}; scikit-learn {sklearn.__version__} lacks something"
    with pytest.raises(ImportError, match=message):
        again("later")


def test_fit_context_checks_parameters_first():
    class Estimator(BaseEstimator):
        _parameter_constraints = {"rate": [internals.Interval(Real, 0, 1, closed="left")]}

        def __init__(self, rate=0.5):
            self.rate = rate

        @internals.fit_context(prefer_skip_nested_validation=True)
        def fit(self):
            return self

    assert Estimator().fit().rate == 0.5
    with pytest.raises(internals.InvalidParameterError, match="'rate' parameter of Estimator must be"):
        Estimator(rate=1.0).fit()


@pytest.mark.parametrize(
    ("constraint", "good", "bad"),
    [
        (internals.StrOptions({"a", "b"}), "a", "c"),
        (internals.Options(int, {1, 2}), 2, 3),
        (internals.Interval(Integral, 1, None, closed="left"), 1, 0),
    ],
    ids=["StrOptions", "Options", "Interval"],
)
def test_constraints(constraint, good, bad):
    internals.validate_parameters({"x": [constraint]}, {"x": good}, caller_name="Estimator")
    with pytest.raises(internals.InvalidParameterError, match="The 'x' parameter of Estimator must be"):
        internals.validate_parameters({"x": [constraint]}, {"x": bad}, caller_name="Estimator")


def test_sample_weights_become_an_array():
    X = np.zeros((3, 1), np.float32)
    np.testing.assert_array_equal(internals.check_sample_weight(None, X, dtype=X.dtype), np.ones(3, np.float32))
    assert internals.check_sample_weight([1, 2, 3], X, dtype=X.dtype).dtype == np.float32
    with pytest.raises(ValueError, match="sample_weight"):
        internals.check_sample_weight([1, 2], X)


def test_the_first_partial_fit_sets_the_classes():
    model = MLPClassifier()
    assert internals.is_first_partial_fit(model, [2, 1])
    np.testing.assert_array_equal(model.classes_, [1, 2])
    assert not internals.is_first_partial_fit(model, None)


def test_rows_of_any_container():
    np.testing.assert_array_equal(internals.safe_indexing(np.arange(6).reshape(3, 2), [2, 0]), [[4, 5], [0, 1]])
    assert internals.safe_indexing(["a", "b", "c"], [1]) == ["b"]


def test_values_that_its_classes_admit():
    assert internals.admits(neural_network.MLPClassifier, "activation", "relu")
    assert not internals.admits(neural_network.MLPClassifier, "activation", "gelu")


def test_its_optimizers():
    weights = [np.zeros((2, 3)), np.zeros(3)]
    adam_class, sgd_class = internals.their_optimizers()
    adam = adam_class(weights, 0.1, 0.9, 0.999, 1e-8)
    assert {"ms", "vs", "t", "beta_1", "beta_2", "epsilon", "learning_rate_init"} <= {*vars(adam)}
    sgd = sgd_class(weights, 0.1, "invscaling", 0.9, True, 0.5)
    assert {"velocities", "momentum", "nesterov", "power_t", "lr_schedule", "learning_rate"} <= {*vars(sgd)}


@pytest.mark.skipif(not hasattr(internals.CallbackSupportMixin, "set_callbacks"), reason="callbacks came with 1.9")
def test_callbacks_have_a_context():
    model = MLPClassifier()
    assert internals.root_of_callbacks(model, "fit", 3) is None
    assert hasattr(model, "_init_callback_context")
    assert callable(internals.with_callbacks(lambda self: self))


def test_without_callbacks(monkeypatch):
    """Before 1.9 there is nothing to import."""
    monkeypatch.setitem(sys.modules, "sklearn.callback", None)
    earlier = again("earlier")
    assert not hasattr(earlier.CallbackSupportMixin, "set_callbacks")
    assert earlier.with_callbacks(len) is len
