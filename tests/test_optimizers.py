"""Every optimizer of the table: steps by hand, scikit-learn's and PyTorch's; vector functions against formulas.

Run as a program with the name of a file, this records there what PyTorch does: ``tests/torch_optimizers.json``.
"""

import json
import math
import pathlib
import pickle
import sys
from copy import deepcopy

import numpy as np
import pytest
from vectors import mapped

from fastmlp.optimizers import (
    OPTIMIZERS,
    AdaDelta,
    AdaGrad,
    Adam,
    AdamW,
    AMSGrad,
    Gradient,
    GradientDescent,
    Lion,
    Momentum,
    NAdam,
    Nesterov,
    RAdam,
    RMSProp,
)

SIZE = 320
GRADIENTS = [0.5, -2.0, 0.125]
COMPONENTS = OPTIMIZERS.classes
over_components = pytest.mark.parametrize(
    "component", [cls() for cls in COMPONENTS], ids=lambda component: component.name
)
over_dtypes = pytest.mark.parametrize("dtype", [np.float32, np.float64])


def steps_of(component, steps, rate=0.1):
    """The numbers of steps 1, 2, ..., one row each."""
    return component.scalars(np.arange(1.0, steps + 1), np.full(steps, rate))


def trajectory(component, gradient, start, steps, rate):
    """The weights after each step by the formula, along a function of them."""
    w, states = start, [np.zeros_like(start)] * component.states
    path = []
    for n in steps_of(component, steps, rate):
        w, *states = component.formula(n, gradient(w), w, *states)
        path.append(w)
    return np.array(path)


def by_hand(component, gradients=GRADIENTS, rate=0.1):
    """One weight, from 1, after each of the gradients."""
    remaining = iter(gradients)
    return trajectory(component, lambda w: np.array([next(remaining)]), np.ones(1), len(gradients), rate)[:, 0]


# --- steps by hand ----------------------------------------------------------------------------------------------------


def test_gradient_only_remembers():
    g, w = np.array([3.0]), np.array([1.0])
    np.testing.assert_array_equal(Gradient().formula((), g, w, w * 7), [[1], [3]])
    assert steps_of(Gradient(), 5).shape == (5, 0)


def test_gradient_descent_by_hand():
    np.testing.assert_allclose(by_hand(GradientDescent()), [0.95, 1.15, 1.1375])


def test_momentum_by_hand():
    # v = -0.05, -0.025 + 0.2 = 0.175, 0.0875 - 0.0125 = 0.075
    np.testing.assert_allclose(by_hand(Momentum(0.5)), [0.95, 1.125, 1.2])


def test_nesterov_by_hand():
    # the same v; each step is v / 2 - 0.1 g: -0.075, 0.2875, 0.025
    np.testing.assert_allclose(by_hand(Nesterov(0.5)), [0.925, 1.2125, 1.2375])


def test_adam_by_hand():
    # m = 0.25, -0.875, -0.375; v = 0.0625, 1.046875, 0.7890625; the rate times √(1 - 0.75ᵗ) / (1 - 0.5ᵗ)
    steps = [
        0.1 * math.sqrt(0.25) / 0.5 * 0.25 / (0.25 + 0.25),
        0.1 * math.sqrt(0.4375) / 0.75 * -0.875 / (math.sqrt(1.046875) + 0.25),
        0.1 * math.sqrt(0.578125) / 0.875 * -0.375 / (math.sqrt(0.7890625) + 0.25),
    ]
    np.testing.assert_allclose(by_hand(Adam(0.5, 0.75, 0.25)), 1 - np.cumsum(steps))


def test_lion_by_hand():
    # m = 0, 0.25, -0.875; the signs of m / 4 + 3 g / 4 are +, -, -; each step draws w by a hundredth towards zero
    component = Lion(beta_1=0.25, beta_2=0.5, weight_decay=0.1)
    first = 1 - 0.1 - 0.01
    second = first + 0.1 - 0.01 * first
    np.testing.assert_allclose(by_hand(component), [first, second, second + 0.1 - 0.01 * second])


def test_amsgrad_forgets_no_peak():
    """Long after one large gradient Adam's divisor is small again, this one's is not."""
    gradients = [1.0, *[0.01] * 30]
    adam, amsgrad = (np.diff(by_hand(cls(0.0, 0.5), gradients))[-1] for cls in (Adam, AMSGrad))
    np.testing.assert_allclose([adam, amsgrad], [-0.1, -0.1 * 0.01 / math.sqrt(0.5)], rtol=1e-3)


def test_radam_begins_without_division():
    """rho_t is at most 5 for five steps: with equal gradients each is the rate times the gradient."""
    np.testing.assert_allclose(np.diff(by_hand(RAdam(), [3.0] * 7))[:4], -0.3)
    assert abs(np.diff(by_hand(RAdam(), [3.0] * 7))[4]) < 0.1
    plain, adaptive = steps_of(RAdam(), 10_000)[:, :2].T
    np.testing.assert_array_equal(plain > 0, adaptive == 0)
    np.testing.assert_allclose(adaptive[-1], 0.1, rtol=1e-3)
    with np.errstate(all="raise"):
        assert np.isfinite(steps_of(RAdam(beta_2=0.6), 100)).all()  # rho is 4: it never divides
    assert not steps_of(RAdam(beta_2=0.6), 100)[:, 1].any()


def test_momentum_of_nadam_is_multiplied_from_the_first_step():
    """Also where steps are asked for one by one, and far beyond the last factor that counts."""
    for component in (NAdam(), NAdam(0.99, momentum_decay=100.0), NAdam(0.0)):
        mu = component.beta_1 * (1 - 0.5 * 0.96 ** (np.arange(1.0, 6002) * component.momentum_decay))
        expected = 0.1 * np.sqrt(1 - 0.999 ** np.arange(1.0, 6001)) * mu[1:] / (1 - np.cumprod(mu)[1:])
        np.testing.assert_allclose(steps_of(component, 6000)[:, 1], expected, rtol=1e-14)


# --- scikit-learn's ---------------------------------------------------------------------------------------------------


def scikit_learns(component, w, rate):
    """scikit-learn's optimizer with the same numbers, working on `w` in place."""
    module = pytest.importorskip("sklearn.neural_network._stochastic_optimizers")
    if isinstance(component, Adam):
        return module.AdamOptimizer([w], rate, component.beta_1, component.beta_2, component.epsilon)
    return module.SGDOptimizer([w], rate, momentum=component.momentum, nesterov=isinstance(component, Nesterov))


@pytest.mark.parametrize("component", [Momentum(0.8), Nesterov(0.8), Adam(0.85, 0.98, 1e-6)], ids=repr)
def test_steps_are_scikit_learns(component):
    gradients = np.random.default_rng(0).normal(size=(21, SIZE))
    theirs, remaining = gradients[0].copy(), iter(gradients[1:])
    ours = trajectory(component, lambda w: next(remaining), gradients[0], 20, 0.01)
    optimizer = scikit_learns(component, theirs, 0.01)
    for step, g in enumerate(gradients[1:]):
        optimizer.update_params([theirs], [g])
        np.testing.assert_allclose(ours[step], theirs, rtol=1e-12, atol=1e-13)


# --- PyTorch's --------------------------------------------------------------------------------------------------------

RECORDED = pathlib.Path(__file__).with_name("torch_optimizers.json")
KEPT = [0, 1, 5, 12, 19]  # steps of the twenty that are recorded
START = np.array([0.5, -0.5, 0.25, 0.0])
TORCH = {  # the component, PyTorch's name and numbers, the learning rate
    GradientDescent(): ("SGD", {}, 0.05),
    Momentum(): ("SGD", {"momentum": 0.9}, 0.05),
    Momentum(0.5): ("SGD", {"momentum": 0.5}, 0.05),
    Nesterov(): ("SGD", {"momentum": 0.9, "nesterov": True}, 0.05),
    Adam(): ("Adam", {}, 0.1),
    Adam(0.5, 0.9, 0.01): ("Adam", {"betas": (0.5, 0.9), "eps": 0.01}, 0.1),
    AdaGrad(): ("Adagrad", {}, 0.5),
    AdaGrad(0.1): ("Adagrad", {"eps": 0.1}, 0.5),
    RMSProp(): ("RMSprop", {}, 0.05),
    RMSProp(0.8, 0.1): ("RMSprop", {"alpha": 0.8, "eps": 0.1}, 0.05),
    AdaDelta(): ("Adadelta", {}, 1.0),
    AdaDelta(0.5, 0.01): ("Adadelta", {"rho": 0.5, "eps": 0.01}, 0.5),
    AMSGrad(): ("Adam", {"amsgrad": True}, 0.1),
    AMSGrad(0.5, 0.5, 0.01): ("Adam", {"amsgrad": True, "betas": (0.5, 0.5), "eps": 0.01}, 0.1),
    AdamW(): ("AdamW", {}, 0.1),
    AdamW(0.5, 0.9, 0.01, 0.5): ("AdamW", {"betas": (0.5, 0.9), "eps": 0.01, "weight_decay": 0.5}, 0.1),
    NAdam(): ("NAdam", {}, 0.1),
    NAdam(0.5, 0.9, 0.01, 1.0): ("NAdam", {"betas": (0.5, 0.9), "eps": 0.01, "momentum_decay": 1.0}, 0.1),
    RAdam(): ("RAdam", {}, 0.1),
    RAdam(0.5, 0.9, 0.01): ("RAdam", {"betas": (0.5, 0.9), "eps": 0.01}, 0.1),
}


def bowl_gradient(w):
    """Gradient of w A w / 2 - b w with a_ij = 1 / (1 + |i - j|): four weights that depend on each other."""
    position = np.arange(4)
    return w @ (1 / (1 + np.abs(position[:, None] - position))) - [1.0, -2.0, 3.0, -4.0]


def torch_trajectory(torch, component):
    """PyTorch's weights after each of twenty steps in the bowl; its Adam adds epsilon where ours does."""
    name, scalars, rate = TORCH[component]
    w = torch.tensor(START.copy())
    optimizer = getattr(torch.optim, name)([w], lr=rate, **scalars)
    path = []
    for t in range(1, 21):
        if type(component) is Adam:
            optimizer.param_groups[0]["eps"] = component.epsilon / math.sqrt(1 - component.beta_2**t)
        w.grad = torch.tensor(bowl_gradient(w.numpy()))
        optimizer.step()
        path.append(w.tolist())
    return np.array(path)


def assert_same_displacement(path, expected):
    """To rounding; PyTorch keeps the product of NAdam's momenta in float32."""
    error = np.linalg.norm(path - expected, axis=1) / np.linalg.norm(expected - START, axis=1)
    assert error.max() <= 1e-7


@pytest.mark.parametrize("component", TORCH, ids=repr)
def test_steps_are_pytorchs_as_recorded(component):
    expected = json.loads(RECORDED.read_text(encoding="utf8"))["trajectories"][repr(component)]
    path = trajectory(component, bowl_gradient, START, 20, TORCH[component][2])
    assert_same_displacement(path[KEPT], np.array(expected))


@pytest.mark.parametrize("component", TORCH, ids=repr)
def test_steps_are_pytorchs(component):
    torch = pytest.importorskip("torch")
    path = trajectory(component, bowl_gradient, START, 20, TORCH[component][2])
    assert_same_displacement(path, torch_trajectory(torch, component))


def test_every_word_is_compared_with_a_second_opinion():
    assert {type(component) for component in TORCH} | {Gradient, Lion} == set(COMPONENTS)


# --- over the table ---------------------------------------------------------------------------------------------------


@over_components
def test_numbers_are_the_same_for_one_step_and_for_many(component):
    t, rate = np.arange(1.0, 401), np.linspace(0.1, 0.2, 400)
    scalars = component.scalars(t, rate)
    assert scalars.dtype == np.float64
    assert scalars.shape[1] <= 8
    assert np.isfinite(scalars).all()
    for at in (0, 1, 17, 399):
        np.testing.assert_allclose(
            component.scalars(t[at : at + 1], rate[at : at + 1]), scalars[at : at + 1], rtol=1e-15
        )


@over_components
def test_numbers_settle(component):
    """The corrections fade: after many steps no number depends on the step."""
    scalars = component.scalars(np.array([1e6, 1e7]), np.full(2, 0.1))
    np.testing.assert_allclose(scalars[1], scalars[0], rtol=1e-3)


@over_components
def test_no_gradient_no_step(component):
    w, zeros = np.linspace(-2, 2, 5), np.zeros(5)
    decay = getattr(component, "weight_decay", 0) * 0.1
    new = component.formula(steps_of(component, 1)[0], zeros, w, *[zeros] * component.states)
    np.testing.assert_array_equal(new, [w - decay * w] + [zeros] * component.states)


@pytest.mark.parametrize(
    "component", [cls() for cls in COMPONENTS if cls is not Gradient], ids=lambda component: component.name
)
def test_every_word_finds_the_minimum(component):
    """With a rate that falls to zero, from 1 where the steps become small by themselves."""
    rate = (1.0 if isinstance(component, (AdaGrad, AdaDelta)) else 0.1) * np.linspace(1, 0, 3000)
    path = trajectory(component, bowl_gradient, START, 3000, rate)
    assert np.linalg.norm(bowl_gradient(path[-1])) < 0.01 + 10 * getattr(component, "weight_decay", 0)


@over_dtypes
@over_components
def test_formula_keeps_the_dtype(component, dtype):
    ones = np.ones(3, dtype)
    new = component.formula(steps_of(component, 1)[0].astype(dtype), ones, ones, *[ones] * component.states)
    assert [array.dtype for array in new] == [dtype] * (1 + component.states)


@over_components
def test_equal_by_value_hashable_and_pickled(component):
    component.scalars(np.ones(1), np.ones(1))
    for copy in (
        deepcopy(component),
        pickle.loads(pickle.dumps(component)),
        OPTIMIZERS.resolve(component.name),
        eval(repr(component)),
    ):
        assert copy == component
        assert hash(copy) == hash(component)
    assert all(component != cls() for cls in COMPONENTS if cls is not type(component))


# --- on vectors -------------------------------------------------------------------------------------------------------

VECTORS = {}


def vector_step(component, n, *arrays):
    """One step by the vector function, on whole arrays; compiled once for each component."""
    if component.name not in VECTORS:
        function = component.vector if component.states else lambda *vectors: component.vector(*vectors)[0]
        VECTORS[component.name] = mapped(function, 1 + component.states, numbers=max(len(n), 1))
    new = VECTORS[component.name](n if len(n) else [0.0], *arrays)
    return new if component.states else (new,)


@pytest.mark.width
@over_dtypes
@over_components
def test_vector_function_is_the_formula(component, dtype):
    """Step by step from the same state, so that rounding does not add up."""
    random = np.random.default_rng(0)
    state = [random.normal(size=SIZE).astype(dtype), *np.zeros((component.states, SIZE), dtype)]
    for n in steps_of(component, 8).astype(dtype):
        g = random.normal(size=SIZE).astype(dtype)
        expected = component.formula(n.astype(np.float64), *(array.astype(np.float64) for array in (g, *state)))
        state = vector_step(component, n, g, *state)
        for got, true in zip(state, expected, strict=True):
            np.testing.assert_allclose(got, true, rtol=0, atol=4 * np.finfo(dtype).eps * np.abs(true).max())


@pytest.mark.width
@over_dtypes
@over_components
def test_nan_comes_through(component, dtype):
    """It ends in the weight, or in what a component that takes no step keeps; by the formula too."""
    g = np.zeros(16, dtype)
    g[3] = np.nan
    arrays = [g, np.ones(16, dtype), *np.zeros((component.states, 16), dtype)]
    n = steps_of(component, 1)[0].astype(dtype)
    for new in (vector_step(component, n, *arrays), component.formula(n, *arrays)):
        np.testing.assert_array_equal(np.isnan(new[:2]).any(axis=0), np.isnan(g))


@pytest.mark.width
@over_dtypes
@over_components
def test_large_and_small_gradients_give_finite_weights(component, dtype):
    """Also where the square of a gradient is infinite, or nothing."""
    largest = np.finfo(dtype).max
    g = np.array([largest, -largest, largest**0.75, 1e4, 1e-20, np.finfo(dtype).tiny, 0.0, -0.0], dtype) * dtype(0.5)
    state = [np.ones(8, dtype), *np.zeros((component.states, 8), dtype)]
    for n in steps_of(component, 8, rate=1e-3).astype(dtype):
        new = vector_step(component, n, g, *state)
        assert np.isfinite(new[0]).all()


@pytest.mark.width
def test_lion_moves_no_weight_without_direction():
    g = np.array([0.0, -0.0, 1e-30, -1e-30])
    n = steps_of(Lion(), 1)[0]
    np.testing.assert_array_equal(vector_step(Lion(), n, g, np.zeros(4), np.zeros(4))[0], [0, 0, -0.1, 0.1])


# --- errors -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Momentum(1.5), "momentum of Momentum must be a number in [0, 1]; got 1.5."),
        (lambda: Nesterov(math.nan), "momentum of Nesterov must be a number in [0, 1]; got nan."),
        (lambda: Adam(beta_1=1), "beta_1 of Adam must be a number in [0, 1); got 1."),
        (lambda: AMSGrad(beta_2=-0.1), "beta_2 of AMSGrad must be a number in [0, 1); got -0.1."),
        (lambda: RAdam(epsilon=0), "epsilon of RAdam must be a number in (0, inf); got 0."),
        (lambda: AdaGrad(epsilon="small"), "epsilon of AdaGrad must be a number in (0, inf); got 'small'."),
        (lambda: RMSProp(rho=1), "rho of RMSProp must be a number in [0, 1); got 1."),
        (lambda: RMSProp(epsilon=-1), "epsilon of RMSProp must be a number in (0, inf); got -1."),
        (lambda: AdaDelta(rho=2), "rho of AdaDelta must be a number in [0, 1); got 2."),
        (lambda: AdaDelta(epsilon=0), "epsilon of AdaDelta must be a number in (0, inf); got 0."),
        (lambda: AdamW(weight_decay=-1), "weight_decay of AdamW must be a number in [0, inf); got -1."),
        (lambda: AdamW(beta_1=2), "beta_1 of AdamW must be a number in [0, 1); got 2."),
        (lambda: NAdam(momentum_decay=-1), "momentum_decay of NAdam must be a number in [0, inf); got -1."),
        (lambda: Lion(beta_1=1), "beta_1 of Lion must be a number in [0, 1); got 1."),
        (lambda: Lion(beta_2=None), "beta_2 of Lion must be a number in [0, 1); got None."),
        (lambda: Lion(weight_decay=math.inf), "weight_decay of Lion must be a number in [0, inf); got inf."),
    ],
)
def test_bad_numbers(make, message):
    with pytest.raises(ValueError) as error:
        make()
    assert str(error.value) == message


def record(path):
    """Write what the installed PyTorch does."""
    import torch

    trajectories = {repr(component): torch_trajectory(torch, component)[KEPT].tolist() for component in TORCH}
    lines = ",\n".join(f"{json.dumps(component)}: {json.dumps(values)}" for component, values in trajectories.items())
    text = f'{{"torch": "{torch.__version__}", "trajectories": {{\n{lines}\n}}}}\n'
    pathlib.Path(path).write_text(text, encoding="utf8")


if __name__ == "__main__":
    record(sys.argv[1])
