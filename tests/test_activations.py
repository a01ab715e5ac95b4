"""Every activation of the table: its slope by finite differences, its vector function against its formula."""

import functools
from dataclasses import fields

import numpy as np
import pytest
import scipy.integrate
import scipy.optimize
from vectors import mapped

from fastmlp.activations import ACTIVATIONS, ELU, GELU, SELU, GELUTanh, LeakyReLU, Mish, PReLU, SiLU

INF, NAN = np.inf, np.nan
POINTS = np.linspace(-12, 12, 480)  # none at a kink
HARD = [0.0, -0.0, 1e-40, -1e-40, 3, -3, 30, -30, 100, -100, 1e4, -1e4, 1e30, -1e30]
# With the numbers that come with them, and with others.
COMPONENTS = [cls() for cls in ACTIVATIONS.classes] + [cls(0.7) for cls in ACTIVATIONS.classes if fields(cls)]
over_components = pytest.mark.parametrize("component", COMPONENTS, ids=repr)
over_dtypes = pytest.mark.parametrize("dtype", [np.float32, np.float64])


def slope_of(component, z):
    return component.formula(np.array(z, np.float64))[1]


@functools.cache
def vector_function(cls):
    return mapped(cls.vector, 2)


def on_vectors(component, z):
    """(f(z), f'(z)) by the vector function."""
    return vector_function(type(component))(z, np.full_like(z, component.hyperparameter))


def test_order_of_the_table():
    """Codes are kept in pickles of networks and in compiled code."""
    components = "identity logistic tanh relu leaky_relu prelu elu selu softplus gelu gelu_tanh silu mish"
    assert [cls.name for cls in ACTIVATIONS.classes] == [*components.split(), "hard_sigmoid", "hard_swish"]
    assert ACTIVATIONS["sigmoid"] is ACTIVATIONS["logistic"]
    assert ACTIVATIONS["swish"] is ACTIVATIONS["silu"]


# --- numbers ----------------------------------------------------------------------------------------------------------


def test_numbers_of_words():
    assert [LeakyReLU().hyperparameter, PReLU().hyperparameter, ELU().hyperparameter, SELU().hyperparameter] == [
        0.01,
        0.25,
        1.0,
        0.0,
    ]
    assert LeakyReLU(slope=-0.5).hyperparameter == -0.5


def test_only_the_slopes_of_prelu_are_learned():
    assert [cls.name for cls in ACTIVATIONS.classes if cls.learned] == ["prelu"]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: LeakyReLU(slope=INF), "slope of LeakyReLU must be a number in (-inf, inf); got inf."),
        (lambda: PReLU(slope="a"), "slope of PReLU must be a number in (-inf, inf); got 'a'."),
        (lambda: ELU(alpha=-1), "alpha of ELU must be a number in [0, inf); got -1."),
        (lambda: ELU(alpha=NAN), "alpha of ELU must be a number in [0, inf); got nan."),
    ],
)
def test_bad_numbers(make, message):
    with pytest.raises(ValueError) as error:
        make()
    assert str(error.value) == message


# --- formulas ---------------------------------------------------------------------------------------------------------


@over_components
def test_slope_is_the_derivative(component):
    h = 1e-6
    differences = (component.formula(POINTS + h)[0] - component.formula(POINTS - h)[0]) / (2 * h)
    np.testing.assert_allclose(slope_of(component, POINTS), differences, rtol=0, atol=1e-8)


@over_components
@pytest.mark.parametrize("sign", [-1, 1])
def test_far_out_the_slope_is_that_of_a_straight_line(component, sign):
    near, far = component.formula(np.array([sign * 1e4, sign * 2e4]))[0]
    np.testing.assert_allclose(slope_of(component, [sign * 1e4, sign * 1e30]), (far - near) / (sign * 1e4), atol=1e-12)


@over_dtypes
@over_components
def test_formula_keeps_the_dtype(component, dtype):
    assert [array.dtype for array in component.formula(POINTS.astype(dtype))] == [dtype, dtype]


@over_components
def test_which_words_fall_somewhere(component):
    falls = component.name in {"gelu", "gelu_tanh", "silu", "mish", "hard_swish"}
    assert (slope_of(component, POINTS).min() < 0) == falls


@pytest.mark.parametrize(
    ("name", "z", "y", "slope"),
    [
        ("identity", -3, -3, 1),
        ("logistic", 0, 1 / 2, 1 / 4),
        ("logistic", np.log(3), 3 / 4, 3 / 16),
        ("tanh", 0, 0, 1),
        ("tanh", np.log(2), 3 / 5, 16 / 25),
        ("relu", 2, 2, 1),
        ("relu", -2, 0, 0),
        ("relu", 0, 0, 0),
        ("leaky_relu", 2, 2, 1),
        ("leaky_relu", -2, -0.02, 0.01),
        ("leaky_relu", 0, 0, 0.01),
        ("prelu", -2, -0.5, 0.25),
        ("elu", -np.log(2), -1 / 2, 1 / 2),
        ("elu", 0, 0, 1),
        ("selu", 1, 1.0507009873554805, 1.0507009873554805),
        ("softplus", 0, np.log(2), 1 / 2),
        ("softplus", np.log(3), np.log(4), 3 / 4),
        ("gelu", 0, 0, 1 / 2),
        ("gelu_tanh", 0, 0, 1 / 2),
        ("silu", 0, 0, 1 / 2),
        ("silu", np.log(3), 3 / 4 * np.log(3), 3 / 4 + 3 / 16 * np.log(3)),
        ("mish", 0, 0, 3 / 5),  # tanh(log 2)
        ("hard_sigmoid", 0, 1 / 2, 1 / 6),
        ("hard_sigmoid", 3, 1, 0),
        ("hard_sigmoid", -3, 0, 0),
        ("hard_swish", 1, 2 / 3, 5 / 6),
        ("hard_swish", 3, 3, 1),
        ("hard_swish", -3, 0, 0),
    ],
)
@pytest.mark.width
def test_known_values(name, z, y, slope):
    component, z = ACTIVATIONS.resolve(name), np.array([z], np.float64)
    for got in (component.formula(z), on_vectors(component, z)):
        np.testing.assert_allclose(np.ravel(got), [y, slope], rtol=1e-15, atol=1e-15)


@pytest.mark.parametrize(
    ("component", "z", "y", "accuracy"),
    [
        (SiLU(), -1.28, -0.28, 5e-3),  # Elfwing et al. (2017), section 2
        (Mish(), -1.19, -0.31, 5e-3),  # Misra (2020), section 1
        (GELU(), -0.7518, -0.17, 5e-4),
        (GELUTanh(), -0.7525, -0.17, 5e-4),
    ],
    ids=repr,
)
def test_minima(component, z, y, accuracy):
    least = scipy.optimize.minimize_scalar(lambda z: float(component.formula(np.array(z))[0]), bounds=(-3, 0))
    np.testing.assert_allclose([least.x, least.fun], [z, y], atol=accuracy)
    np.testing.assert_allclose(slope_of(component, least.x), 0, atol=1e-4)


def test_selu_keeps_mean_and_variance():
    """Mean 0 and variance 1 are a fixed point, which gives its two numbers: Klambauer et al. (2017), section 2."""

    def moment(power):
        def integrand(z):
            return SELU().formula(np.array(z))[0] ** power * np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi)

        return sum(scipy.integrate.quad(integrand, *part)[0] for part in [(-30, 0), (0, 30)])

    np.testing.assert_allclose([moment(1), moment(2)], [0, 1], atol=1e-12)


def test_gelu_by_tanh_is_near_gelu():
    difference = GELU().formula(POINTS)[0] - GELUTanh().formula(POINTS)[0]
    assert 4e-4 < abs(difference).max() < 5e-4


# --- PyTorch ----------------------------------------------------------------------------------------------------------

# f and f' at six points in float64, by PyTorch 2.13.0.
PYTORCH_POINTS = [-4.0, -1.5, -0.25, 0.5, 2.0, 3.5]
PYTORCH = {
    "logistic": [
        [0.01798621, 0.182425524, 0.437823499, 0.622459331, 0.880797078, 0.970687769],
        [0.0176627062, 0.149146452, 0.246134083, 0.235003712, 0.104993585, 0.0284530239],
    ],
    "tanh": [
        [-0.9993293, -0.905148254, -0.244918662, 0.462117157, 0.96402758, 0.998177898],
        [0.00134095068, 0.180706639, 0.940014849, 0.786447733, 0.0706508249, 0.00364088472],
    ],
    "relu": [
        [0, 0, 0, 0.5, 2, 3.5],
        [0, 0, 0, 1, 1, 1],
    ],
    "leaky_relu": [
        [-0.04, -0.015, -0.0025, 0.5, 2, 3.5],
        [0.01, 0.01, 0.01, 1, 1, 1],
    ],
    "prelu": [
        [-1, -0.375, -0.0625, 0.5, 2, 3.5],
        [0.25, 0.25, 0.25, 1, 1, 1],
    ],
    "elu": [
        [-0.981684361, -0.77686984, -0.221199217, 0.5, 2, 3.5],
        [0.0183156389, 0.22313016, 0.778800783, 1, 1, 1],
    ],
    "selu": [
        [-1.72589863, -1.36581435, -0.388890197, 0.525350494, 2.10140197, 3.67745346],
        [0.0322007127, 0.392284987, 1.36920914, 1.05070099, 1.05070099, 1.05070099],
    ],
    "softplus": [
        [0.0181499279, 0.201413278, 0.57593942, 0.974076984, 2.12692801, 3.52975042],
        [0.01798621, 0.182425524, 0.437823499, 0.622459331, 0.880797078, 0.970687769],
    ],
    "gelu": [
        [-0.000126684967, -0.100210802, -0.100323419, 0.345731231, 1.95449974, 3.4991858],
        [-0.000503649661, -0.127469192, 0.304626645, 0.867495125, 1.0852318, 1.00282176],
    ],
    "gelu_tanh": [
        [-7.02459482e-05, -0.100428423, -0.100324649, 0.34571401, 1.95459769, 3.4993838],
        [-0.000335123197, -0.127710793, 0.304645905, 0.867369904, 1.08609926, 1.00242264],
    ],
    "silu": [
        [-0.0719448398, -0.273638286, -0.109455875, 0.311229666, 1.76159416, 3.39740719],
        [-0.0526646149, -0.0412941543, 0.376289978, 0.739961187, 1.09078425, 1.07027335],
    ],
    "mish": [
        [-0.0725917408, -0.298099742, -0.129926964, 0.375245211, 1.94395896, 3.49399072],
        [-0.0537732098, -0.0640978159, 0.439815602, 0.886424375, 1.06931793, 1.00993932],
    ],
    "hard_sigmoid": [
        [0, 0.25, 0.458333333, 0.583333333, 0.833333333, 1],
        [0, 0.166666672, 0.166666672, 0.166666672, 0.166666672, 0],
    ],
    "hard_swish": [
        [0, -0.375, -0.114583333, 0.291666667, 1.66666667, 3.5],
        [0, 0, 0.416666667, 0.666666667, 1.16666667, 1],
    ],
}


def live(torch, name):
    """PyTorch's function of that name."""
    functional = torch.nn.functional
    return {
        "logistic": torch.sigmoid,
        "tanh": torch.tanh,
        "prelu": lambda z: functional.prelu(z, torch.tensor([0.25], dtype=z.dtype)),
        "gelu_tanh": lambda z: functional.gelu(z, approximate="tanh"),
        "hard_sigmoid": functional.hardsigmoid,
        "hard_swish": functional.hardswish,
    }.get(name) or getattr(functional, name)


@pytest.mark.parametrize("name", PYTORCH)
def test_recorded_values_of_pytorch(name):
    got = ACTIVATIONS.resolve(name).formula(np.array(PYTORCH_POINTS))
    np.testing.assert_allclose(got, PYTORCH[name], rtol=5e-8, atol=1e-12)  # its hard_sigmoid has a float32 1/6


@pytest.mark.parametrize("name", PYTORCH)
def test_values_of_pytorch(name):
    torch = pytest.importorskip("torch")
    z = torch.tensor(POINTS, requires_grad=True)
    y = live(torch, name)(z)
    (slope,) = torch.autograd.grad(y.sum(), z)
    got = ACTIVATIONS.resolve(name).formula(POINTS)
    np.testing.assert_allclose(got, [y.detach().numpy(), slope.numpy()], rtol=5e-8, atol=1e-14)


# --- on vectors -------------------------------------------------------------------------------------------------------


@over_dtypes
@over_components
@pytest.mark.parametrize("points", ["ordinary", "hard"])
@pytest.mark.filterwarnings("ignore:overflow")
@pytest.mark.width
def test_vector_function_is_the_formula(component, points, dtype):
    """A few units in the last place of 1 or of the value, whichever is larger."""
    largest = np.finfo(dtype).max
    z = np.array(POINTS if points == "ordinary" else [*HARD, largest, -largest], dtype)
    expected = component.formula(z.astype(np.float64))
    error = 8 * np.finfo(dtype).eps
    for got, true in zip(on_vectors(component, z), expected):
        np.testing.assert_allclose(got, true.astype(dtype), rtol=error, atol=error)


@over_dtypes
@over_components
@pytest.mark.width
def test_at_infinity(component, dtype):
    largest = np.finfo(dtype).max
    y, slope = on_vectors(component, np.array([INF, -INF, largest, -largest], dtype))
    assert not np.isnan(y).any()
    np.testing.assert_array_equal(slope[:2], slope[2:])


@over_dtypes
@over_components
@pytest.mark.filterwarnings("ignore:invalid value")
@pytest.mark.width
def test_nan_comes_through(component, dtype):
    z = np.array([0.5, NAN, -0.5, 2.0], dtype)
    for y, _ in (on_vectors(component, z), component.formula(z)):
        np.testing.assert_array_equal(np.isnan(y), [False, True, False, False])


@over_dtypes
@pytest.mark.width
def test_every_unit_has_its_own_number(dtype):
    z, slopes = np.full(40, -2, dtype), np.linspace(-1, 1, 40).astype(dtype)
    y, slope = mapped(PReLU.vector, 2)(z, slopes)
    np.testing.assert_array_equal(y, -2 * slopes)
    np.testing.assert_array_equal(slope, slopes)
