"""Every loss of the table with every output it allows: delta by finite differences, vectors against formulas."""

import functools

import numpy as np
import pytest
from scipy.special import log_softmax, softmax
from sklearn import metrics
from vectors import mapped

from fastmlp.losses import (
    LOSSES,
    OUTPUTS,
    PAIRS,
    AbsoluteError,
    ClassLoss,
    Focal,
    Gamma,
    Huber,
    KLDivergence,
    LogCosh,
    LogLoss,
    Loss,
    Poisson,
    Quantile,
    SquaredError,
    check_pair,
    clipped_log,
    output_formula,
    output_slope,
    output_vector,
)

N_OUTPUTS = 4
MODERATE = np.linspace(-8, 8, 321)
LARGE = [-1e30, -1e4, -80, -50, 50, 80, 1e4, 1e30]
LARGEST = {dtype: np.finfo(dtype).max / 8 for dtype in (np.float32, np.float64)}  # some times that is finite
OTHER_NUMBERS = [LogLoss(0.1), Focal(0.0), Focal(0.5), Huber(0.3), Quantile((0.1, 0.8))]
COMPONENTS = [cls() for cls in LOSSES.classes] + OTHER_NUMBERS
COMPONENT_PAIRS = [(component, output) for component in COMPONENTS for output in component.outputs]
ELEMENTWISE = [(component, output) for component, output in COMPONENT_PAIRS if output != "softmax"]


def label(value):
    """How a component or an output is named in a test's id; the rest is numbered."""
    return str(value) if isinstance(value, (Loss, str)) else None


over_pairs = pytest.mark.parametrize(("component", "output"), COMPONENT_PAIRS, ids=label)
over_elementwise = pytest.mark.parametrize(("component", "output"), ELEMENTWISE, ids=label)
over_regressions = pytest.mark.parametrize(
    ("component", "output"), [pair for pair in ELEMENTWISE if not isinstance(pair[0], ClassLoss)], ids=label
)
over_class_losses = pytest.mark.parametrize(
    "component", [component for component in COMPONENTS if isinstance(component, ClassLoss)], ids=repr
)
over_outputs = pytest.mark.parametrize("output", [output for output in OUTPUTS if output != "softmax"])
over_dtypes = pytest.mark.parametrize("dtype", [np.float32, np.float64])
quiet = pytest.mark.filterwarnings("ignore:overflow", "ignore:invalid value", "ignore:divide by zero")


def targets(component, output, shape, dtype=np.float64):
    """Targets that the pair accepts: codes, 0 or 1, probabilities, or positive numbers."""
    random = np.random.default_rng(1)
    if component.takes_codes(output):
        return random.integers(0, shape[1], shape[0])
    if isinstance(component, ClassLoss):
        return random.integers(0, 2, shape).astype(dtype)
    t = random.gamma(1.0, size=shape)
    if output == "softmax":
        t[:, 0] = 0
        t /= t.sum(axis=1, keepdims=True)
    return t.astype(dtype)


def rows(component, output, dtype=np.float64):
    """(z, t) of 50 rows."""
    z = 2 * np.random.default_rng(0).normal(size=(50, N_OUTPUTS))
    return z.astype(dtype), targets(component, output, z.shape, dtype)


def column(component, z):
    """z as outputs that all have the component's first number."""
    levels = len(component.levels) if isinstance(component, Quantile) else 1
    return np.repeat(z[:, None], levels, axis=1)


def formula(component, output, z, t):
    """(loss, delta) of every z alone by the formula."""
    component = Quantile(component.levels[:1]) if isinstance(component, Quantile) else component
    loss, delta = component.formula(output, z[:, None], t[:, None])
    return loss, delta[:, 0]


@functools.cache
def vector_function(cls, output):
    return mapped(lambda z, t, number: cls.vector(output, z, t, number), 2)


def on_vectors(component, output, z, t):
    """(loss, delta) of every z alone by the vector function."""
    return vector_function(type(component), output)(z, t, np.full_like(z, np.ravel(component.hyperparameter)[0]))


def test_order_of_the_table():
    """Codes are kept in pickles of networks and in compiled code."""
    components = "log_loss squared_error kl_divergence focal absolute_error huber log_cosh quantile poisson gamma"
    assert [cls.name for cls in LOSSES.classes] == components.split()
    assert LOSSES["cross_entropy"] is LOSSES["log_loss"]


def test_outputs_of_pairs():
    assert {output for _, output in PAIRS} == set(OUTPUTS)


def test_a_pair_that_is_not_allowed():
    with pytest.raises(ValueError) as error:
        check_pair(Quantile(), "tanh")
    expected = "output_activation must be one of 'identity', 'exp' with loss 'quantile'; got 'tanh'."
    assert str(error.value) == expected


# --- numbers ----------------------------------------------------------------------------------------------------------


def test_numbers_of_words():
    components = [LogLoss(), Focal(), SquaredError(), Huber(), Quantile([0.1, 0.9])]
    assert [component.hyperparameter for component in components] == [0.0, 2.0, 0.0, 1.0, (0.1, 0.9)]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: LogLoss(1), "label_smoothing of LogLoss must be a number in [0, 1); got 1."),
        (lambda: LogLoss(-0.1), "label_smoothing of LogLoss must be a number in [0, 1); got -0.1."),
        (lambda: Focal(-1), "gamma of Focal must be a number in [0, inf); got -1."),
        (lambda: Huber(0), "delta of Huber must be a number in (0, inf); got 0."),
        (lambda: Quantile(()), "levels of Quantile must be numbers in (0, 1), at least one; got ()."),
        (lambda: Quantile((0.5, 1)), "levels of Quantile must be numbers in (0, 1), at least one; got (0.5, 1)."),
        (lambda: Quantile("ab"), "levels of Quantile must be numbers in (0, 1), at least one; got 'ab'."),
    ],
)
def test_bad_numbers(make, message):
    with pytest.raises(ValueError) as error:
        make()
    assert str(error.value) == message


# --- output activations -----------------------------------------------------------------------------------------------


@over_outputs
def test_slope_of_an_output_is_the_derivative(output):
    h, z = 1e-6, np.linspace(-3, 3, 61)
    difference = (output_formula(output, z + h) - output_formula(output, z - h)) / (2 * h)
    slope = output_slope(output, output_formula(output, z)) * np.ones_like(z)
    np.testing.assert_allclose(slope, difference, rtol=1e-8, atol=1e-8)


@quiet
@over_dtypes
@over_outputs
@pytest.mark.width
def test_output_on_vectors(output, dtype):
    z = np.array([*MODERATE, *LARGE, np.nan], dtype)
    got = mapped(lambda z: output_vector(output, z))(z)
    expected = output_formula(output, z.astype(np.float64)).astype(dtype)
    np.testing.assert_allclose(got, expected, rtol=4 * np.finfo(dtype).eps, atol=np.finfo(dtype).tiny)


# --- formulas ---------------------------------------------------------------------------------------------------------


@over_pairs
def test_delta_is_the_derivative(component, output):
    z, t = rows(component, output)
    h = 1e-6
    delta = component.formula(output, z, t)[1]
    for k in range(N_OUTPUTS):
        step = h * (np.arange(N_OUTPUTS) == k)
        difference = component.formula(output, z + step, t)[0] - component.formula(output, z - step, t)[0]
        expected = difference / (2 * h) / component.row_scale(N_OUTPUTS)
        np.testing.assert_allclose(delta[:, k], expected, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize(
    ("component", "output"),
    [
        (LogLoss(), "softmax"),
        (LogLoss(), "logistic"),
        (SquaredError(), "identity"),
        (KLDivergence(), "softmax"),
        (Poisson(), "exp"),
    ],
    ids=label,
)
def test_delta_of_a_canonical_pair_is_prediction_less_target(component, output):
    z, t = rows(component, output)
    target = np.eye(N_OUTPUTS)[t] if component.takes_codes(output) else t
    np.testing.assert_allclose(component.formula(output, z, t)[1], output_formula(output, z) - target, atol=1e-15)


@over_dtypes
@over_pairs
def test_formula_keeps_the_dtype(component, output, dtype):
    z, t = rows(component, output, dtype)
    loss, delta = component.formula(output, z, t)
    assert loss.shape == (len(z),)
    assert delta.shape == z.shape
    assert {loss.dtype, delta.dtype, output_formula(output, z).dtype} == {np.dtype(dtype)}


@over_regressions
def test_loss_is_0_at_the_target_and_more_beside_it(component, output):
    t = np.linspace(0.1, 0.9, 9)
    z = {"identity": t, "logistic": np.log(t / (1 - t)), "tanh": np.arctanh(t), "exp": np.log(t)}[output]
    loss = component.formula(output, column(component, z), column(component, t))[0]
    np.testing.assert_allclose(loss, 0, atol=1e-14)
    for beside in (z - 0.1, z + 0.1):
        assert (component.formula(output, column(component, beside), column(component, t))[0] > loss).all()


@pytest.mark.parametrize(
    ("component", "output", "metric", "factor"),
    [
        (LogLoss(), "softmax", lambda t, y: metrics.log_loss(t, y, labels=range(N_OUTPUTS)), 1),
        (LogLoss(), "logistic", lambda t, y: sum(map(metrics.log_loss, t.T, y.T)), 1),
        (SquaredError(), "identity", metrics.mean_squared_error, 0.5),
        (SquaredError(), "tanh", metrics.mean_squared_error, 0.5),
        (AbsoluteError(), "exp", metrics.mean_absolute_error, 1),
        (Quantile((0.2,)), "identity", lambda t, y: metrics.mean_pinball_loss(t, y, alpha=0.2), 1),
        (Poisson(), "exp", lambda t, y: sum(map(metrics.mean_poisson_deviance, t.T, y.T)), 0.5),
        (Gamma(), "exp", lambda t, y: sum(map(metrics.mean_gamma_deviance, t.T, y.T)), 0.5),
    ],
    ids=label,
)
def test_mean_loss_is_scikit_learns_metric(component, output, metric, factor):
    z, t = rows(component, output)
    mean = component.formula(output, z, t)[0].mean()
    assert mean == pytest.approx(factor * metric(t, output_formula(output, z)), rel=1e-6)


@pytest.mark.parametrize(
    ("component", "output", "z", "t", "loss", "delta"),
    [
        (LogLoss(), "softmax", [0, 0], 1, np.log(2), [0.5, -0.5]),
        (LogLoss(), "softmax", [0, np.log(3)], 0, np.log(4), [-0.75, 0.75]),
        (LogLoss(0.5), "softmax", [0, np.log(3)], 0, np.log(4) - 0.25 * np.log(3), [-0.5, 0.5]),
        (LogLoss(), "logistic", [0, np.log(3)], [1, 0], np.log(2) + np.log(4), [-0.5, 0.75]),
        (LogLoss(0.5), "logistic", [np.log(3)], [0], np.log(4) - 0.25 * np.log(3), [0.5]),
        (SquaredError(), "identity", [1, -1], [0, 2], (1 + 9) / 4, [1, -3]),
        (SquaredError(), "logistic", [np.log(3)], [0], 9 / 32, [3 / 4 * 3 / 16]),
        (SquaredError(), "tanh", [np.log(2)], [1], 2 / 25, [-2 / 5 * 16 / 25]),
        (SquaredError(), "exp", [np.log(2)], [1], 1 / 2, [2]),
        (KLDivergence(), "softmax", [0, 0], [0.5, 0.5], 0, [0, 0]),
        (KLDivergence(), "softmax", [0, np.log(3)], [1, 0], np.log(4), [-0.75, 0.75]),
        (KLDivergence(), "softmax", [0, np.log(3)], [0.5, 0.5], np.log(2) - np.log(3) / 2, [-0.25, 0.25]),
        (Focal(), "softmax", [0, np.log(3)], 0, 9 / 16 * np.log(4), (9 + 6 * np.log(4)) / 16 * np.array([-0.75, 0.75])),
        (Focal(), "logistic", [0], [1], np.log(2) / 4, [-(1 + 2 * np.log(2)) / 8]),
        (AbsoluteError(), "identity", [1, -1, 2], [0, 2, 2], 4 / 3, [1, -1, 0]),
        (Huber(), "identity", [0.5, 3, -4], [0, 0, 0], (0.125 + 2.5 + 3.5) / 3, [0.5, 1, -1]),
        (Huber(2.0), "identity", [2, 3], [0, 0], (2 + 4) / 2, [2, 2]),
        (LogCosh(), "identity", [np.log(2), 0], [0, 0], np.log(5 / 4) / 2, [3 / 5, 0]),
        (Quantile((0.25,)), "identity", [2, -2], [0, 0], (1.5 + 0.5) / 2, [0.75, -0.25]),
        (Quantile((0.25, 0.5)), "identity", [1, 1, 1, 2], [0, 0, 2, 2], (3 + 2 + 1 + 0) / 16, [0.75, 0.5, -0.25, 0]),
        (Poisson(), "exp", [0, np.log(2)], [0, 2], 1, [1, 0]),
        (Poisson(), "exp", [0, 0], [2, 1], 2 * np.log(2) - 1, [-1, 0]),
        (Gamma(), "exp", [0, np.log(2)], [2, 2], 1 - np.log(2), [-1, 0]),
    ],
    ids=label,
)
def test_known_values(component, output, z, t, loss, delta):
    t = np.array([t]) if component.takes_codes(output) else np.array([t], np.float64)
    got = component.formula(output, np.array([z], np.float64), t)
    np.testing.assert_allclose(got[0], [loss], atol=1e-15)
    np.testing.assert_allclose(got[1], [delta], atol=1e-15)


@pytest.mark.parametrize(
    ("component", "same", "output", "factor"),
    [
        (Focal(0.0), LogLoss(), "softmax", 1),
        (Focal(0.0), LogLoss(), "logistic", 1),
        (Huber(1e6), SquaredError(), "tanh", 1),
        (Huber(1e-6), AbsoluteError(), "identity", 1e-6),
        (Quantile(), AbsoluteError(), "identity", 0.5),
    ],
    ids=label,
)
def test_relatives(component, same, output, factor):
    z, t = rows(component, output)
    for got, expected in zip(component.formula(output, z, t), same.formula(output, z, t)):
        np.testing.assert_allclose(got, factor * expected, rtol=1e-5, atol=1e-15)


def test_smoothed_log_loss_is_the_divergence_of_smoothed_targets():
    z, t = rows(LogLoss(), "softmax")
    q = 0.7 * np.eye(N_OUTPUTS)[t] + 0.3 / N_OUTPUTS
    loss, delta = LogLoss(0.3).formula("softmax", z, t)
    divergence, its_delta = KLDivergence().formula("softmax", z, q)
    np.testing.assert_allclose(loss, divergence - (q * np.log(q)).sum(axis=1), rtol=1e-12)
    np.testing.assert_allclose(delta, its_delta, atol=1e-15)


@over_dtypes
@over_class_losses
@pytest.mark.parametrize("output", ["softmax", "logistic"])
def test_the_loss_of_a_hopeless_prediction(component, output, dtype):
    """Exact, but for the plain log loss, which clips probabilities as scikit-learn does."""
    z = np.array([[1e4, -1e4]], dtype)
    t = np.array([1]) if component.takes_codes(output) else np.array([[0, 1]], dtype)
    loss, delta = component.formula(output, z, t)
    s = component.label_smoothing if isinstance(component, LogLoss) else 0
    of_one = -np.log(np.finfo(dtype).eps) * (1 if output == "softmax" else 2) if component == LogLoss() else 2e4
    np.testing.assert_allclose(loss, (1 - s / 2) * of_one, rtol=1e-6)
    np.testing.assert_allclose(delta, [[1 - s / 2, s / 2 - 1]], rtol=1e-4)


@quiet
@over_dtypes
@over_pairs
def test_formula_has_no_nan_for_large_numbers(component, output, dtype):
    largest = LARGEST[dtype]
    z = np.array([*LARGE, largest, -largest], dtype)
    z = np.stack([z, np.roll(z, 1), np.zeros_like(z), -z], axis=1)
    loss, delta = component.formula(output, z, targets(component, output, z.shape, dtype))
    assert not np.isnan(loss).any()
    assert not np.isnan(delta).any()


# --- PyTorch ----------------------------------------------------------------------------------------------------------

Z = np.array([[-1.5, 0.25, 2.0, 0.5]])
CODE, BITS = np.array([2]), np.array([[0.0, 1.0, 1.0, 0.0]])
SHARES, VALUES = np.array([[0.1, 0.0, 0.6, 0.3]]), np.array([[0.5, 0.75, 0.25, 3.0]])
# component, output, target; what PyTorch minimizes, of itself, its functions, z and t, summed over the outputs; loss
# and delta of that in float64 by PyTorch 2.13.0.
PYTORCH = [
    (
        LogLoss(),
        "softmax",
        CODE,
        lambda torch, f, z, t: f.cross_entropy(z, t),
        0.355645455,
        [0.0211599411, 0.121767054, -0.299278987, 0.156351992],
    ),
    (
        LogLoss(0.1),
        "softmax",
        CODE,
        lambda torch, f, z, t: f.cross_entropy(z, t, label_smoothing=0.1),
        0.524395455,
        [-0.00384005889, 0.0967670537, -0.224278987, 0.131351992],
    ),
    (
        LogLoss(),
        "logistic",
        BITS,
        lambda torch, f, z, t: f.binary_cross_entropy_with_logits(z, t, reduction="sum"),
        1.87835769,
        [0.182425524, -0.437823499, -0.119202922, 0.622459331],
    ),
    (
        SquaredError(),
        "identity",
        VALUES,
        lambda torch, f, z, t: f.mse_loss(z, t, reduction="sum") / 2,
        6.78125,
        [-2, -0.5, 1.75, -2.5],
    ),
    (
        SquaredError(),
        "logistic",
        VALUES,
        lambda torch, f, z, t: f.mse_loss(z.sigmoid(), t, reduction="sum") / 2,
        3.0933679,
        [-0.0473651064, -0.0462297647, 0.0662296469, -0.558730883],
    ),
    (
        SquaredError(),
        "tanh",
        VALUES,
        lambda torch, f, z, t: f.mse_loss(z.tanh(), t, reduction="sum") / 2,
        4.59011674,
        [-0.253919618, -0.474783957, 0.0504466375, -1.99591221],
    ),
    (
        KLDivergence(),
        "softmax",
        SHARES,
        lambda torch, f, z, t: f.kl_div(f.log_softmax(z, 1), t, reduction="sum"),
        0.25769973,
        [-0.0788400589, 0.121767054, 0.100721013, -0.143648008],
    ),
    (
        Focal(),
        "softmax",
        CODE,
        lambda torch, f, z, t: focal(f.softmax(z, 1)[0, t]),
        0.0318544208,
        [0.00505158666, 0.0290698741, -0.071447918, 0.0373264572],
    ),
    (
        Focal(0.5),
        "logistic",
        BITS,
        lambda torch, f, z, t: focal(torch.where(t == 1, z, -z).sigmoid(), 0.5),
        1.27944672,
        [0.11308274, -0.396819693, -0.0604552668, 0.636167725],
    ),
    (
        AbsoluteError(),
        "identity",
        VALUES,
        lambda torch, f, z, t: f.l1_loss(z, t, reduction="sum"),
        6.75,
        [-1, -1, 1, -1],
    ),
    (
        AbsoluteError(),
        "exp",
        VALUES,
        lambda torch, f, z, t: f.l1_loss(z.exp(), t, reduction="sum"),
        9.30123008,
        [-0.22313016, 1.28402542, 7.3890561, -1.64872127],
    ),
    (Huber(), "identity", VALUES, lambda torch, f, z, t: f.huber_loss(z, t, reduction="sum"), 4.875, [-1, -0.5, 1, -1]),
    (
        Huber(0.3),
        "tanh",
        VALUES,
        lambda torch, f, z, t: f.huber_loss(z.tanh(), t, reduction="sum", delta=0.3),
        1.368642,
        [-0.0542119917, -0.282004455, 0.0211952475, -0.23593432],
    ),
    (
        LogCosh(),
        "identity",
        VALUES,
        lambda torch, f, z, t: (z - t).cosh().log().sum(),
        4.34528866,
        [-0.96402758, -0.462117157, 0.941375538, -0.986614298],
    ),
    (
        Quantile((0.2,)),
        "exp",
        VALUES,
        lambda torch, f, z, t: torch.maximum(0.8 * (z.exp() - t), 0.2 * (t - z.exp())).sum(),
        6.46409493,
        [-0.044626032, 1.02722033, 5.91124488, -0.329744254],
    ),
    (
        Poisson(),
        "exp",
        VALUES,
        lambda torch, f, z, t: (f.poisson_nll_loss(z, t, reduction="none") + t.xlogy(t) - t).sum(),
        6.99436108,
        [-0.27686984, 0.534025417, 7.1390561, -1.35127873],
    ),
    (
        Gamma(),
        "exp",
        VALUES,
        lambda torch, f, z, t: (t / z.exp() + z - t.log() - 1).sum(),
        3.19688225,
        [-1.24084454, 0.415899413, 0.966166179, -0.819591979],
    ),
]


def focal(p, gamma=2):
    """Lin et al. (2017), equation 4."""
    return -((1 - p) ** gamma * p.log()).sum()


over_pytorch = pytest.mark.parametrize("case", PYTORCH, ids=lambda case: f"{case[0]}-{case[1]}")


@over_pytorch
def test_recorded_values_of_pytorch(case):
    component, output, t, _, loss, delta = case
    got = component.formula(output, Z, t)
    np.testing.assert_allclose(got[0] / component.row_scale(N_OUTPUTS), [loss], rtol=5e-9)
    np.testing.assert_allclose(got[1], [delta], rtol=5e-9)


@over_pytorch
def test_values_of_pytorch(case):
    torch = pytest.importorskip("torch")
    component, output, t, minimized, _, _ = case
    z = torch.tensor(Z, requires_grad=True)
    value = minimized(torch, torch.nn.functional, z, torch.tensor(t))
    (gradient,) = torch.autograd.grad(value, z)
    got = component.formula(output, Z, t)
    np.testing.assert_allclose(got[0] / component.row_scale(N_OUTPUTS), [value.item()], rtol=1e-12)
    np.testing.assert_allclose(got[1], gradient.numpy(), rtol=1e-12)


# --- on vectors -------------------------------------------------------------------------------------------------------


def one_of_each(component, output, z, dtype):
    """z beside targets of its own kind."""
    z = z.astype(dtype)
    return z, targets(component, output, (z.size, 1), dtype).ravel()


@over_dtypes
@over_elementwise
@pytest.mark.width
def test_vector_function_is_the_formula(component, output, dtype):
    """A few units in the last place of 1 or of the value; in float64 the log loss's formula loses digits in 1 - p."""
    z, t = one_of_each(component, output, MODERATE, dtype)
    error = (300 if isinstance(component, LogLoss) and dtype == np.float64 else 24) * np.finfo(dtype).eps
    expected = formula(component, output, z.astype(np.float64), t.astype(np.float64))
    for got, true in zip(on_vectors(component, output, z, t), expected):
        np.testing.assert_allclose(got, true, rtol=error, atol=error)


@over_dtypes
@pytest.mark.width
@pytest.mark.parametrize(("component", "output", "t"), [(LogCosh(), "identity", 0), (Gamma(), "exp", 1)], ids=label)
def test_delta_keeps_its_digits_near_the_target(component, output, t, dtype):
    z = np.array([-1e-3, -1e-6, -1e-12, 0, 1e-12, 1e-6, 1e-3], dtype)
    true = {"log_cosh": np.tanh, "gamma": lambda z: -np.expm1(-z)}[component.name](z.astype(np.float64))
    delta = on_vectors(component, output, z, np.full_like(z, t))[1]
    np.testing.assert_allclose(delta, true, rtol=8 * np.finfo(dtype).eps)


@over_dtypes
@pytest.mark.width
def test_vector_function_of_counts_is_the_formula(dtype):
    random = np.random.default_rng(0)
    z, t = random.normal(size=320).astype(dtype), random.poisson(3, 320).astype(dtype)
    expected = formula(Poisson(), "exp", z.astype(np.float64), t.astype(np.float64))
    for got, true in zip(on_vectors(Poisson(), "exp", z, t), expected):
        np.testing.assert_allclose(got, true, rtol=0, atol=200 * np.finfo(dtype).eps)


@quiet
@over_dtypes
@over_elementwise
@pytest.mark.width
def test_vector_function_of_large_numbers(component, output, dtype):
    largest = LARGEST[dtype]
    z, t = one_of_each(component, output, np.array([*LARGE, largest, -largest]), dtype)
    for got, true in zip(on_vectors(component, output, z, t), formula(component, output, z, t)):
        np.testing.assert_allclose(got, true, rtol=1e-5, atol=np.finfo(dtype).eps)


@quiet
@over_dtypes
@over_elementwise
@pytest.mark.width
def test_nan_comes_through(component, output, dtype):
    z, t = np.array([0.5, np.nan, -0.5, 2.0], dtype), np.array([1, 1, 1, 1], dtype)
    for loss, delta in (on_vectors(component, output, z, t), formula(component, output, z, t)):
        np.testing.assert_array_equal(np.isnan(loss), [False, True, False, False])
        np.testing.assert_array_equal(np.isnan(delta), [False, True, False, False])


@pytest.mark.width
@pytest.mark.parametrize("output", ["identity", "exp"])
def test_every_output_has_its_own_level(output):
    component, z = Quantile((0.1, 0.5, 0.9)), np.linspace(-2, 2, 60).reshape(20, 3)
    loss, delta = component.formula(output, z, np.zeros_like(z))
    vectors = vector_function(Quantile, output)(z.ravel(), np.zeros(60), np.tile(component.hyperparameter, 20))
    np.testing.assert_allclose(vectors[0].reshape(z.shape).mean(axis=1), loss, rtol=1e-14)
    np.testing.assert_allclose(vectors[1].reshape(z.shape), delta, rtol=1e-14)


# --- beside the softmax -----------------------------------------------------------------------------------------------

UNSMOOTHED = [component for component in COMPONENTS if isinstance(component, ClassLoss) and component != LogLoss(0.1)]
over_row_words = pytest.mark.parametrize("component", UNSMOOTHED, ids=repr)


def of_rows(component, log_p):
    """(loss, factor) by the function of vectors."""
    return mapped(component.row_vector, 2)(log_p, np.full_like(log_p, component.hyperparameter))


@over_dtypes
@over_row_words
@pytest.mark.width
def test_row_function_is_the_formula(component, dtype):
    z = np.stack([MODERATE, np.zeros_like(MODERATE)], axis=1)
    loss, delta = component.formula("softmax", z, np.zeros(len(z), int))
    got = of_rows(component, log_softmax(z, axis=1)[:, 0].astype(dtype))
    error = (24 if dtype == np.float32 else 3000) * np.finfo(dtype).eps
    np.testing.assert_allclose(got[0], loss, rtol=error, atol=error)
    np.testing.assert_allclose(got[1], delta[:, 1] / softmax(z, axis=1)[:, 1], rtol=error, atol=error)


@over_dtypes
@over_row_words
@pytest.mark.width
def test_row_function_at_the_ends(component, dtype):
    """log p = 0 and log p far below: exact, or of the clipped probability where scikit-learn clips it."""
    epsilon = np.finfo(dtype).eps
    log_p = np.array([0, -1e-30, -1e4, -1e30, np.nan], dtype)
    loss, factor = of_rows(component, log_p)
    if isinstance(component, LogLoss):
        np.testing.assert_allclose(loss[:4], -np.log(epsilon) * np.array([0, 0, 1, 1]), rtol=1e-5, atol=2 * epsilon)
        np.testing.assert_array_equal(factor, 1)
    else:
        q = -np.expm1(log_p)
        np.testing.assert_allclose(loss, -(q**component.gamma) * log_p, rtol=1e-5)
        certain = q[1] ** component.gamma * (1 + component.gamma)
        np.testing.assert_allclose(factor[1:4], [certain, 1, 1], rtol=1e-4)
        assert 0 <= factor[0] <= 1
    assert np.isnan(loss[4])


@over_dtypes
@pytest.mark.width
def test_clipped_log(dtype):
    epsilon = np.finfo(dtype).eps
    p = np.array([0, epsilon / 4, epsilon, 0.25, 0.5, 1], np.float64)
    with np.errstate(divide="ignore"):
        x = np.append(np.log(p), np.nan).astype(dtype)
    expected = np.append(np.log(np.clip(p, epsilon, 1 - epsilon)), np.nan)
    np.testing.assert_allclose(mapped(clipped_log)(x), expected, rtol=4 * epsilon)


@over_dtypes
@pytest.mark.width
def test_terms_of_the_divergence(dtype):
    z, t = rows(KLDivergence(), "softmax", dtype)
    log_p = log_softmax(z.astype(np.float64), axis=1).astype(dtype)
    terms = mapped(KLDivergence.term_vector)(log_p.ravel(), t.ravel())
    expected = KLDivergence().formula("softmax", z.astype(np.float64), t.astype(np.float64))[0]
    np.testing.assert_allclose(terms.reshape(z.shape).sum(axis=1), expected, atol=24 * np.finfo(dtype).eps)
    log_p, t = np.array([np.nan, -1, -np.inf, -1e30], dtype), np.array([1, np.nan, 0, 0], dtype)
    np.testing.assert_array_equal(mapped(KLDivergence.term_vector)(log_p, t), [np.nan, np.nan, 0, 0])
