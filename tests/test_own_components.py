"""Components of a user's own: examples that run, kernels that know them by address, and what is refused."""

import importlib.util
import pathlib
import pickle
import re
import subprocess
import sys
import time

import numpy as np
import pytest
from problems import Problem, over_dtypes
from sklearn.base import clone

from fastmlp import MLPClassifier
from fastmlp.activations import ACTIVATIONS, Activation
from fastmlp.losses import LOSSES, ClassLoss, ErrorLoss, LogLoss, Loss, clipped_log
from fastmlp.machine.simd import full_like, maximum
from fastmlp.optimizers import OPTIMIZERS, Optimizer

EXAMPLES = pathlib.Path(__file__).resolve().parent.parent / "docs" / "examples"


def example(name):
    """An example as a module that pickles find again."""
    if name not in sys.modules:
        specification = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
        sys.modules[name] = importlib.util.module_from_spec(specification)
        specification.loader.exec_module(sys.modules[name])
    return sys.modules[name]


@pytest.fixture
def registries():
    """Examples and other components are there during the test only: other tests go over the package's own."""
    kept = [(each, [*each.classes], dict(each._by_name)) for each in (ACTIVATIONS, LOSSES, OPTIMIZERS)]
    ours = (example("own_activation").Squareplus, example("own_loss").Cauchy, example("own_optimizer").Signum)
    for cls, (registry, _, _) in zip(ours, kept):
        if cls not in registry.classes:
            registry.classes.append(cls)
            registry._by_name[cls.name] = cls
    yield
    for registry, classes, names in kept:
        registry.classes[:], registry._by_name = classes, names


@pytest.mark.parametrize("name", ["own_activation", "own_loss", "own_optimizer"])
def test_examples_run(name):
    answer = subprocess.run([sys.executable, EXAMPLES / f"{name}.py"], capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stderr
    numbers = [float(number) for number in re.findall(r"-?\d+\.\d+(?=%|$)", answer.stdout, re.MULTILINE)]
    if name == "own_loss":
        assert numbers[1] > max(0.8, numbers[0])
    else:
        assert numbers[0] > 80


@over_dtypes
@pytest.mark.parametrize("outputs", [1, 3, 18])
def test_an_activation_and_an_optimizer_against_the_reference(outputs, dtype, registries):
    activation, optimizer = example("own_activation").Squareplus(2.0), example("own_optimizer").Signum(0.8)
    Problem((5, 19, 7, outputs), 50, 16, dtype, activation=activation).check((1, 2))
    Problem((5, 19, 7, outputs), 50, 16, dtype, activation=activation, optimizer="momentum", weighted=True).check()
    network = Problem((5, 19, 7, outputs), 50, 16, dtype, activation="tanh", optimizer=optimizer)
    if dtype == np.float64:  # a sign turns on the last bit
        network.check((1, 2))


@over_dtypes
@pytest.mark.parametrize("output", ["identity", "tanh", "exp"])
def test_a_loss_of_errors_against_the_reference(output, dtype, registries):
    loss = example("own_loss").Cauchy(0.7)
    Problem((5, 19, 7, 3), 50, 16, dtype, loss=loss, output=output, activation="tanh", weighted=True).check((1, 2))


@over_dtypes
@pytest.mark.parametrize("output", ["softmax", "logistic"])
def test_a_loss_of_classes_is_the_package_s_with_the_same_formula(output, dtype, registries):
    @LOSSES.add("twice")
    class Twice(ClassLoss):
        """Twice the log loss."""

        def formula(self, output, z, t):
            return tuple(2 * each for each in LogLoss().formula(output, z, t))

        def of_outputs(self, output, y, t):
            return 2 * LogLoss().of_outputs(output, y, t)

        @staticmethod
        def vector(output, z, t, number):
            loss, delta = LogLoss.vector(output, z, t, full_like(z, 0))
            return loss * 2, delta * 2

        @staticmethod
        def row_vector(log_p, number):
            return clipped_log(log_p) * -2, full_like(log_p, 2)

    settings = {"learning_rate": 0.01, "alpha": 0.0}
    components = {"optimizer": "gradient_descent", "activation": "tanh", "output": output}
    doubled = Problem((5, 19, 7, 3), 50, 16, dtype, loss=Twice(), settings=settings, **components)
    doubled.check((1, 2))
    plain = Problem((5, 19, 7, 3), 50, 16, dtype, settings={**settings, "learning_rate": 0.02}, **components)
    for one, other in zip(doubled.by_network()[1:], plain.by_network()[1:], strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4 if dtype == np.float32 else 1e-12, atol=1e-6)


def test_registered_after_a_fit_cloned_and_pickled(digits, registries, tmp_path):
    X, y = digits
    MLPClassifier((8,), max_iter=2).fit(X, y)
    squareplus, signum = example("own_activation").Squareplus, example("own_optimizer").Signum
    model = MLPClassifier((8,), activation=squareplus(2.0), solver=signum(), max_iter=2, random_state=0)
    expected = clone(model).fit(X, y).predict_proba(X)
    np.testing.assert_array_equal(model.fit(X, y).predict_proba(X), expected)
    (tmp_path / "model").write_bytes(pickle.dumps(model))
    np.save(tmp_path / "X.npy", X)
    code = (
        f"import pickle, sys, numpy as np; sys.path.insert(0, {str(EXAMPLES)!r});"
        "model = pickle.load(open('model', 'rb')); X = np.load('X.npy');"
        "np.save('P.npy', model.predict_proba(X)); model.partial_fit(X, model.predict(X))"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert answer.returncode == 0, answer.stderr
    np.testing.assert_array_equal(np.load(tmp_path / "P.npy"), expected)


def test_the_first_use_is_quick_and_later_ones_cost_nothing(registries):
    """Processor time: machine code of one function, not of the kernels."""
    Problem((5, 19, 3), 20, 16, np.float32).by_network()

    @ACTIVATIONS.add("own")
    class Own(Activation):
        """max(z, 0)."""

        def formula(self, z):
            return np.maximum(z, 0), (z > 0).astype(z.dtype)

        @staticmethod
        def vector(z, number):
            return maximum(z, 0), full_like(z, 1)

    problem, seconds = Problem((5, 19, 3), 20, 16, np.float32, activation=Own()), []
    for _ in range(2):
        start = time.process_time()
        problem.by_network()
        seconds.append(time.process_time() - start)
    assert seconds[0] < 1.5  # half a second where nothing else runs; Numba is imported first
    assert seconds[1] < 0.1


# --- what is refused --------------------------------------------------------------------------------------------------


def refused(registry, cls, message, name="own"):
    with pytest.raises(TypeError) as error:
        registry.add(name)(cls)
    assert message in str(error.value)
    assert name not in registry


def test_a_formula_alone():
    only = {"formula": lambda self, z: (z, z)}
    message = "Only lacks vector. An activation has formula(z) and vector(z, number), each giving f and its slope"
    refused(ACTIVATIONS, type("Only", (Activation,), only), message)
    only = {"formula": lambda self, n, g, w: (w,)}
    refused(OPTIMIZERS, type("Only", (Optimizer,), only), "Only lacks scalars and vector. An optimizer has scalars")
    only = {"of_error": lambda self, e: (e, e)}
    refused(LOSSES, type("Only", (ErrorLoss,), only), "Only lacks of_error_vector. A loss of errors has of_error(e)")
    refused(LOSSES, type("Only", (Loss,), {"outputs": ("exp",)}), "Only lacks formula and vector and of_outputs.")


def test_what_compiled_code_has_no_room_for():
    whole = {"formula": 1, "vector": 2, "scalars": 3}
    refused(OPTIMIZERS, type("Four", (Optimizer,), {**whole, "states": 4}), "states of Four must be at most 3; got 4.")
    refused(ACTIVATIONS, type("Learned", (Activation,), {**whole, "learned": True}), "Learned must not set learned")
    refused(ACTIVATIONS, type("Other", (), whole), "Other must be a subclass of Activation.")
    losses = {"formula": 1, "vector": 2, "of_outputs": 3}
    refused(LOSSES, type("No", (Loss,), losses), "outputs of No must be a tuple of some of 'identity', 'logistic'")
    refused(LOSSES, type("Soft", (Loss,), {**losses, "outputs": ("softmax",)}), "Soft must be a subclass of ClassLoss.")


def test_a_name_that_is_taken():
    with pytest.raises(ValueError, match=r"activation 'relu' is the name of fastmlp.activations.ReLU; give Mine"):
        ACTIVATIONS.add("relu")(type("Mine", (Activation,), {"formula": 1, "vector": 2}))


def test_a_class_that_is_defined_again_takes_the_place_of_the_first(registries):
    made = [type("Again", (Activation,), {"formula": n, "vector": n}) for n in range(2)]
    first, second = (ACTIVATIONS.add("again")(cls) for cls in made)
    assert ACTIVATIONS["again"] is second
    assert ACTIVATIONS.resolve(first()) == first()  # of a model that was made with it
