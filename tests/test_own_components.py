"""Components of a user's own: examples that run, kernels that know them by address, and what is refused."""

import importlib.util
import pathlib
import pickle
import re
import subprocess
import sys
import time
from dataclasses import dataclass

import numpy as np
import pytest
from problems import Problem, over_dtypes
from sklearn.base import clone

from fastmlp import MLPClassifier
from fastmlp.activations import ACTIVATIONS, Activation
from fastmlp.losses import LOSSES, ClassLoss, ErrorLoss, LogLoss, Loss, clipped_log
from fastmlp.machine.simd import full_like, maximum
from fastmlp.optimizers import OPTIMIZERS, Optimizer
from fastmlp.serving import predictor, to_c

EXAMPLES = pathlib.Path(__file__).resolve().parent.parent / "docs" / "examples"

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


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
        def vector(output, z, t, hyperparameter):
            loss, delta = LogLoss.vector(output, z, t, full_like(z, 0))
            return loss * 2, delta * 2

        @staticmethod
        def row_vector(log_p, hyperparameter):
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
        def vector(z, hyperparameter):
            return maximum(z, 0), full_like(z, 1)

    problem, seconds = Problem((5, 19, 3), 20, 16, np.float32, activation=Own()), []
    for _ in range(2):
        start = time.process_time()
        problem.by_network()
        seconds.append(time.process_time() - start)
    assert seconds[0] < 1.5  # half a second where nothing else runs; Numba is imported first
    assert seconds[1] < 0.1


def test_classes_of_a_script_reach_its_workers(tmp_path):
    """joblib sends them by value: such a class is registered where it arrives."""
    parts = [(EXAMPLES / f"{name}.py").read_text(encoding="utf8") for name in ("own_activation", "own_loss")]
    parts = [part.partition('if __name__ == "__main__":')[0] for part in parts]
    main = (
        "from sklearn.model_selection import cross_val_score\n"
        'if __name__ == "__main__":\n'
        "    X, y = load_digits(return_X_y=True)\n"
        "    model = MLPRegressor(Cauchy(2.0), (8,), activation=Squareplus(2.0), max_iter=2, random_state=0)\n"
        '    scores = [cross_val_score(model, X, y, cv=2, n_jobs=n, error_score="raise") for n in (None, 2)]\n'
        "    np.testing.assert_array_equal(*scores)\n"
    )
    script = tmp_path / "script.py"
    script.write_text("\n".join([*parts, main]), encoding="utf8")
    answer = subprocess.run([sys.executable, "-W", "ignore", script], capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stderr


def test_models_that_other_languages_do_not_know(digits, registries, tmp_path):
    model = MLPClassifier((8,), activation=example("own_activation").Squareplus(2.0), max_iter=2).fit(*digits)
    message = (
        "activation must be one of the package's for to_c; got Squareplus(b=2.0), of which only NumPy and SIMD code"
    )
    with pytest.raises(ValueError, match=re.escape(message)):
        to_c(model, tmp_path / "model.c")
    assert not (tmp_path / "model.c").exists()
    np.testing.assert_array_equal(predictor(model)(digits[0][:5]), model.predict_proba(digits[0][:5]))


def test_the_first_use_registers_nothing_with_numba():
    """Which would take longer than all the rest. In a process of its own, whose kernels lie ready."""
    code = (
        f"import sys; sys.path.insert(0, {str(EXAMPLES)!r});"
        "from own_activation import Squareplus; from fastmlp import MLPRegressor; from fastmlp.machine import jit;"
        "fit = lambda **k: MLPRegressor(hidden_layer_sizes=(4,), max_iter=2, **k).fit([[0.0], [1.0]], [0.0, 1.0]);"
        "fit(); before = jit._pending is None; fit(activation=Squareplus()); print(before == (jit._pending is None))"
    )
    answer = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout == "True\n"


# --- what is refused --------------------------------------------------------------------------------------------------


def refused(registry, cls, message, name="own"):
    with pytest.raises(TypeError) as error:
        registry.add(name)(cls)
    assert message in str(error.value)
    assert name not in registry


ACTIVATION = {"formula": lambda self, z: (z, z), "vector": staticmethod(lambda z, hyperparameter: (z, z))}
LOSS = {
    "regresses": True,
    "formula": lambda self, output, z, t: (z[:, 0], z),
    "vector": staticmethod(lambda output, z, t, hyperparameter: (z, z)),
    "of_outputs": lambda self, output, y, t: y[:, 0],
}
OPTIMIZER = {
    "scalars": lambda self, t, rate: np.ones((len(t), 1)),
    "formula": lambda self, n, g, w: (w,),
    "vector": staticmethod(lambda n, g, w: (w,)),
}


def test_a_formula_alone():
    only = {"formula": ACTIVATION["formula"]}
    message = (
        "Only lacks vector. An activation has formula(z) and vector(z, hyperparameter), each giving f and its slope"
    )
    refused(ACTIVATIONS, type("Only", (Activation,), only), message)
    only = {"formula": OPTIMIZER["formula"]}
    refused(OPTIMIZERS, type("Only", (Optimizer,), only), "Only lacks scalars and vector. An optimizer has scalars")
    only = {"of_error": lambda self, e: (e, e)}
    refused(LOSSES, type("Only", (ErrorLoss,), only), "Only lacks of_error_vector. A loss of errors has of_error(e)")
    refused(LOSSES, type("Only", (Loss,), {"outputs": ("exp",)}), "Only lacks formula and vector and of_outputs.")


def test_what_compiled_code_has_no_room_for():
    four = type("Four", (Optimizer,), {**OPTIMIZER, "states": 4})
    refused(OPTIMIZERS, four, "states of Four must be an int of at most 3; got 4.")
    nine = {**OPTIMIZER, "scalars": lambda self, t, rate: np.ones((len(t), 9))}
    message = "scalars of Nine must give an array of shape (steps, k), k at most 8; got shape (2, 9) for 2 steps."
    refused(OPTIMIZERS, type("Nine", (Optimizer,), nine), message)
    learned = type("Learned", (Activation,), {**ACTIVATION, "learned": True})
    refused(ACTIVATIONS, learned, "Learned must not set learned")
    refused(ACTIVATIONS, type("Other", (), ACTIVATION), "Other must be a subclass of Activation.")
    refused(LOSSES, type("No", (Loss,), LOSS), "outputs of No must be a tuple of some of 'identity', 'logistic'")
    nobodys = type("Nobodys", (Loss,), {**LOSS, "regresses": False})
    refused(LOSSES, nobodys, "Nobodys must set classifies or regresses to True, so that estimators may have it.")
    refused(LOSSES, type("Soft", (Loss,), {**LOSS, "outputs": ("softmax",)}), "Soft must be a subclass of ClassLoss.")


def test_a_class_that_is_no_frozen_dataclass():
    thawed = dataclass(type("Thawed", (Activation,), {**ACTIVATION, "__annotations__": {"a": float}, "a": 1.0}))
    refused(ACTIVATIONS, thawed, "Thawed must be frozen: leave out the decorator dataclass, or add frozen=True to it.")
    bare = type("Bare", (Activation,), {**ACTIVATION, "__annotations__": {"a": float}})
    refused(ACTIVATIONS, bare, "a of Bare must have a default value, for which the name stands.")
    text = type("Text", (Activation,), {**ACTIVATION, "__annotations__": {"a": str}, "a": "b"})
    refused(ACTIVATIONS, text, "The first field of Text must be a number, since compiled code receives it; got 'b'.")


def test_a_frozen_dataclass_stays_as_it_is(registries):
    fields = {**ACTIVATION, "__annotations__": {"a": float}, "a": 1.0}
    frozen = dataclass(frozen=True, repr=False)(type("Frozen", (Activation,), fields))
    assert ACTIVATIONS.add("frozen")(frozen) is frozen
    assert frozen(2.0) == frozen(2.0) != frozen()


@pytest.mark.parametrize(
    ("vector", "message"),
    [
        (lambda z: (z, z), "vector of Own must be a static method that takes (z, hyperparameter); it takes (z)."),
        (lambda self, z, a: (z, z), "vector of Own must be a static method that takes (z, hyperparameter); it takes ("),
    ],
)
def test_a_function_of_other_arguments(vector, message):
    refused(ACTIVATIONS, type("Own", (Activation,), {**ACTIVATION, "vector": vector}), message)


def test_a_formula_of_other_shapes():
    flat = type("Flat", (Activation,), {**ACTIVATION, "formula": lambda self, z: (z, 1.0)})
    message = "formula of Flat must give a tuple of arrays of shapes [(2, 3), (2, 3)]; got [(2, 3), ()]."
    refused(ACTIVATIONS, flat, message)
    one = type("One", (Optimizer,), {**OPTIMIZER, "formula": lambda self, n, g, w: w})
    refused(OPTIMIZERS, one, "formula of One must give a tuple of arrays of shapes [(2, 3)]; got ndarray.")
    raising = {"of_error": lambda self, e: e.missing, "of_error_vector": staticmethod(lambda e, hyperparameter: (e, e))}
    message = (
        "of_error of Bad failed on arrays, with AttributeError: 'numpy.ndarray' object has no attribute 'missing'."
    )
    refused(LOSSES, type("Bad", (ErrorLoss,), raising), message)


@pytest.mark.parametrize(
    ("vector", "message"),
    [
        (lambda z, a: z, "vector of Own must give 2 vectors; got vector."),
        (lambda z, a: (z, z > 0), "vector of Own must give 2 vectors; got vector, mask."),
        (lambda z, a: (z, "1"), "vector of Own must give 2 vectors; got vector, str."),
        (
            lambda z, a: (np.sin(z), z),
            "vector of Own must be made of operators and of the functions in fastmlp.machine.simd and "
            "fastmlp.machine.elementary; it failed with TypeError: operand 'Lanes' does not support ufuncs",
        ),
        (lambda z, a: (z, z) if z > 0 else (a, a), "a vector has no truth value: choose lane by lane, with `where`"),
    ],
)
def test_vectors_that_cannot_be_compiled(vector, message, digits, registries):
    own = ACTIVATIONS.add("own")(type("Own", (Activation,), {**ACTIVATION, "vector": staticmethod(vector)}))
    model = MLPClassifier((8,), activation=own(), max_iter=2)
    with pytest.raises(TypeError, match=re.escape(message)):
        model.fit(*digits)
    assert not hasattr(model, "coefs_")


@over_dtypes
def test_a_number_stands_for_a_vector_and_numpy_s_are_numbers(dtype, registries):
    @ACTIVATIONS.add("half")
    class Half(Activation):
        """z / 2."""

        def formula(self, z):
            return z / 2, np.full_like(z, 0.5)

        @staticmethod
        def vector(z, hyperparameter):
            return np.float64(0.5) * z, 0.5

    Problem((5, 19, 7, 3), 50, 16, dtype, activation=Half()).check()


def test_a_class_without_a_name():
    unnamed = type("Unnamed", (Activation,), ACTIVATION)()
    message = "activation must be a registered component; got an object of Unnamed. Decorate the class with "
    with pytest.raises(ValueError, match=re.escape(message + "@ACTIVATIONS.add and a name of its own.")):
        MLPClassifier(activation=unnamed).fit([[0.0], [1.0]], [0, 1])


def test_a_name_that_is_taken():
    with pytest.raises(ValueError, match=r"activation 'relu' is the name of fastmlp.activations.ReLU; give Mine"):
        ACTIVATIONS.add("relu")(type("Mine", (Activation,), ACTIVATION))


def test_a_class_that_is_defined_again_takes_the_place_of_the_first(registries):
    first, second = (ACTIVATIONS.add("again")(type("Again", (Activation,), ACTIVATION)) for _ in range(2))
    assert ACTIVATIONS["again"] is second
    assert ACTIVATIONS.resolve(first()) == first()  # of a model that was made with it
