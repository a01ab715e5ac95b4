"""Schedules: the rates that scikit-learn's and PyTorch's would give, and properties over the table.

Run as a program with the name of a file, this records there what PyTorch does: ``tests/torch_schedules.json``.
"""

import json
import math
import pathlib
import pickle
import sys
import warnings
from copy import deepcopy

import numpy as np
import pytest
from sklearn.neural_network._stochastic_optimizers import SGDOptimizer

from fastmlp.schedules import (
    SCHEDULES,
    SMALLEST_ADAPTIVE_RATE,
    Adaptive,
    Constant,
    Cosine,
    CosineRestarts,
    Coslog,
    Exponential,
    FlatCosine,
    InverseScaling,
    MultiStep,
    OneCycle,
    Polynomial,
    Progress,
    ReduceOnPlateau,
    StepDecay,
    WarmUp,
    warn_about_changes,
)

EPOCHS, STEPS, ROWS = 40, 8, 100  # of a training; steps and rows of an epoch
SCHEDULES_TO_TEST = [
    *[cls() for cls in SCHEDULES.classes],
    StepDecay(7, 0.3),
    MultiStep((3, 5, 38), 0.2),
    Polynomial(2.0, 0.01),
    Cosine(smallest=0.01),
    Cosine(4, 2, 0.01),
    Cosine(1.5, 1.7),
    CosineRestarts(7),
    OneCycle(0.5, 0.0, 0.0),
    WarmUp(3, StepDecay(4), 0.5),
    WarmUp(2.5, "cosine", 0.0),
    Coslog(4),
    FlatCosine(0.25, 0.01),
]
over_schedules = pytest.mark.parametrize("component", SCHEDULES_TO_TEST, ids=repr)


def training():
    """Progress before each step of a training, as arrays; the epochs are whole at every STEPS-th."""
    steps = np.arange(EPOCHS * STEPS)
    return Progress(steps / STEPS, steps, steps // STEPS * ROWS, steps / (EPOCHS * STEPS), EPOCHS)


def points(progress):
    """One Progress of plain numbers for each point."""
    return [Progress(*map(np.ndarray.item, map(np.asarray, point)), progress.planned) for point in zip(*progress[:-1])]


# --- scikit-learn's ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("component", [Constant(), InverseScaling(0.4), Adaptive()], ids=repr)
def test_rates_are_those_of_scikit_learn(component, capsys):
    """The same rate in each epoch, the same decision and the same components at each plateau."""
    theirs = SGDOptimizer(
        [], learning_rate_init=0.3, lr_schedule=component.name, power_t=getattr(component, "power", 0.5)
    )
    base = 0.3
    for epoch in range(30):
        assert component.rate(base, Progress(epoch, 5 * epoch, 100 * epoch, epoch / 30, 30)) == theirs.learning_rate
        theirs.iteration_ends(100 * (epoch + 1))
        if epoch % 2:
            stops = theirs.trigger_stopping("Plateau.", verbose=True)
            lower = component.on_plateau(base)
            assert (lower is None) == stops
            components = capsys.readouterr().out.strip()
            if stops:
                assert components == "Plateau. " + component.stopping_message
            else:
                base = lower


def test_adaptive_gives_up_at_the_smallest_rate():
    assert Adaptive().on_plateau(SMALLEST_ADAPTIVE_RATE) is None
    assert Adaptive().on_plateau(1.01 * SMALLEST_ADAPTIVE_RATE) is not None


def test_inverse_scaling_begins_anew_with_a_new_optimizer():
    """Rows of earlier trainings count from the second epoch on, as in scikit-learn."""
    assert InverseScaling().rate(0.3, Progress(0, 0, 99, 0.0, 9)) == 0.3
    assert InverseScaling().rate(0.3, Progress(1, 5, 99, 0.0, 9)) == 0.03


# --- PyTorch's --------------------------------------------------------------------------------------------------------

RECORDED = pathlib.Path(__file__).with_name("torch_schedules.json")
KEPT = [0, 1, 6, 9, 10, 14, 28, 30, 39]  # epochs of the forty that are recorded
TORCH = {  # the component, and PyTorch's scheduler with its numbers, or two of them one after the other
    StepDecay(): [("StepLR", {"step_size": 10, "gamma": 0.5})],
    StepDecay(7, 0.3): [("StepLR", {"step_size": 7, "gamma": 0.3})],
    MultiStep((3, 5, 38), 0.2): [("MultiStepLR", {"milestones": [3, 5, 38], "gamma": 0.2})],
    Exponential(): [("ExponentialLR", {"gamma": 0.95})],
    Polynomial(): [("PolynomialLR", {"total_iters": EPOCHS})],
    Polynomial(2.0): [("PolynomialLR", {"total_iters": EPOCHS, "power": 2.0})],
    Cosine(): [("CosineAnnealingLR", {"T_max": EPOCHS})],
    Cosine(smallest=0.01): [("CosineAnnealingLR", {"T_max": EPOCHS, "eta_min": 0.01})],
    CosineRestarts(): [("CosineAnnealingWarmRestarts", {"T_0": 10})],
    Cosine(2, 2, 0.01): [("CosineAnnealingWarmRestarts", {"T_0": 2, "T_mult": 2, "eta_min": 0.01})],
    Cosine(1, 3): [("CosineAnnealingWarmRestarts", {"T_0": 1, "T_mult": 3})],
    OneCycle(): [("OneCycleLR", {"max_lr": 0.3, "total_steps": EPOCHS})],
    WarmUp(): [("LinearLR", {"start_factor": 0.1, "total_iters": 5})],
    WarmUp(8, StepDecay(3), 0.5): [
        ("LinearLR", {"start_factor": 0.5, "total_iters": 8}),
        ("StepLR", {"step_size": 3, "gamma": 0.5}),
    ],
    WarmUp(3, "cosine"): [
        ("LinearLR", {"start_factor": 0.1, "total_iters": 3}),
        ("CosineAnnealingLR", {"T_max": EPOCHS - 3}),
    ],
    WarmUp(10, Polynomial(2.0)): [
        ("LinearLR", {"start_factor": 0.1, "total_iters": 10}),
        ("PolynomialLR", {"total_iters": EPOCHS - 10, "power": 2.0}),
    ],
}


def torch_rates(torch, component):
    """PyTorch's rates, of one step per epoch."""
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=0.3)
    kinds = torch.optim.lr_scheduler
    first, *second = [getattr(kinds, name)(optimizer, **numbers) for name, numbers in TORCH[component]]
    if second:
        first = kinds.SequentialLR(optimizer, [first, *second], [int(component.epochs)])
    rates = []
    for _ in range(EPOCHS):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        first.step()
    return rates


def our_rates(component):
    """Our rates, of one step per epoch. PyTorch's one cycle ends its phases a step earlier than we do."""
    epochs = np.arange(EPOCHS)
    share = epochs / EPOCHS
    if isinstance(component, OneCycle):
        share = np.interp(epochs, [0, 0.3 * EPOCHS - 1, EPOCHS - 1], [0, 0.3, 1])
    return component.rate(0.3, Progress(epochs, epochs, ROWS * epochs, share, EPOCHS))


@pytest.mark.parametrize("component", TORCH, ids=repr)
def test_rates_are_pytorchs_as_recorded(component):
    expected = json.loads(RECORDED.read_text(encoding="utf8"))["rates"][repr(component)]
    np.testing.assert_allclose(our_rates(component)[KEPT], expected, rtol=1e-12)


@pytest.mark.parametrize("component", TORCH, ids=repr)
def test_rates_are_pytorchs(component):
    torch = pytest.importorskip("torch")
    np.testing.assert_allclose(our_rates(component), torch_rates(torch, component), rtol=1e-12)


def test_plateaus_are_pytorchs():
    torch = pytest.importorskip("torch")
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=0.3)
    theirs = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.2, patience=0, min_lr=1e-3, eps=0)
    component, rate = ReduceOnPlateau(0.2, 1e-3), 0.3
    theirs.step(1.0)
    while rate is not None:
        assert rate == optimizer.param_groups[0]["lr"]
        theirs.step(1.0)
        last, rate = rate, component.on_plateau(rate)
    assert last == 1e-3


# --- known values -----------------------------------------------------------------------------------------------------


def at_share(share):
    share = np.asarray(share)
    return Progress(EPOCHS * share, EPOCHS * STEPS * share, 0, share, EPOCHS)


def test_flat_cosine_is_flat_and_then_half_a_wave():
    np.testing.assert_allclose(
        FlatCosine().rate(0.3, at_share([0, 0.49, 0.5, 0.75, 1])), [0.3, 0.3, 0.3, 0.15, 0], atol=1e-15
    )
    np.testing.assert_allclose(FlatCosine(0.8, 0.1).rate(0.3, at_share([0.8, 0.9, 1])), [0.3, 0.2, 0.1])
    everywhere = at_share(np.linspace(0, 1, 30))
    np.testing.assert_allclose(FlatCosine(0).rate(0.3, everywhere), Cosine().rate(0.3, everywhere))


def test_coslog_has_k_cycles_that_double():
    """Up and down between the shares where 1 + (2^k - 1) t is a power of two."""
    for k in (1, 3, 4):
        ends = (2.0 ** np.arange(k + 1) - 1) / (2**k - 1)
        tops = (2.0 ** (np.arange(k) + 0.5) - 1) / (2**k - 1)
        np.testing.assert_allclose(Coslog(k).rate(0.3, at_share(ends)), 0, atol=1e-14)
        np.testing.assert_allclose(Coslog(k).rate(0.3, at_share(tops)), 0.3)


def test_cosine_restarts_at_the_first_step_of_a_cycle():
    """Exactly, wherever rounding falls: cycles of 3, 9, 27, ... epochs and of 10, 10, ..."""
    for component, starts in (
        (Cosine(3, 3), [0, 3, 12, 39, 120, 363, 1092]),
        (CosineRestarts(), np.arange(0, 1000, 10)),
    ):
        starts = np.array(starts)
        np.testing.assert_allclose(component.rate(0.3, Progress(starts, 0, 0, 0, 9)), 0.3)
        assert (component.rate(0.3, Progress(starts[1:] - 0.01, 0, 0, 0, 9)) < 1e-4).all()


def test_one_cycle_by_hand():
    rates = OneCycle().rate(0.3, at_share([0, 0.15, 0.3, 0.65, 1]))
    np.testing.assert_allclose(rates, [0.012, 0.156, 0.3, 0.1500006, 1.2e-6])


def test_polynomial_by_hand():
    np.testing.assert_allclose(Polynomial(2, 0.1).rate(0.5, at_share([0, 0.5, 1])), [0.5, 0.2, 0.1])


def test_default_milestones():
    progress = Progress(np.array([0, 99, 100, 149, 150, 199]), 0, 0, 0, 200)
    np.testing.assert_allclose(MultiStep().rate(1.0, progress), [1, 1, 0.1, 0.1, 0.01, 0.01])


# --- over the table ---------------------------------------------------------------------------------------------------


@over_schedules
def test_arrays_give_the_rates_of_numbers(component):
    rates = np.broadcast_to(component.rate(0.3, training()), EPOCHS * STEPS)
    np.testing.assert_allclose(rates, [component.rate(0.3, point) for point in points(training())], rtol=1e-14)


@over_schedules
def test_rates_lie_between_zero_and_the_initial_one(component):
    rates = np.broadcast_to(component.rate(0.3, training()), EPOCHS * STEPS)
    assert (rates >= 0).all()
    assert (rates <= 0.3).all()
    assert rates.max() > 0.25


@over_schedules
def test_rates_scale_with_the_initial_one(component):
    if not getattr(component, "smallest", 0) and not getattr(component, "end", 0):
        np.testing.assert_allclose(component.rate(6.0, training()), 20 * component.rate(0.3, training()))


@over_schedules
def test_a_rate_per_epoch_is_constant_within_it(component):
    rates = np.broadcast_to(component.rate(0.3, training()), EPOCHS * STEPS).reshape(EPOCHS, STEPS)
    constant = (rates == rates[:, :1]).all()
    assert constant if component.per == "epoch" else not constant


@over_schedules
def test_after_a_warm_up_comes_the_whole_schedule(component):
    """A line up to its first rate, then its rates in a training that is shorter by the warm-up."""
    warm_up, rest = 5, EPOCHS - 5
    rates = np.broadcast_to(WarmUp(warm_up, component).rate(0.3, training()), EPOCHS * STEPS)
    steps = np.arange(rest * STEPS)
    shorter = Progress(steps / STEPS, steps, steps // STEPS * ROWS, steps / (rest * STEPS), rest)
    expected = np.broadcast_to(component.rate(0.3, shorter), rest * STEPS)
    np.testing.assert_allclose(rates[warm_up * STEPS :], expected, rtol=1e-9, atol=1e-9)
    line = (0.1 + 0.9 * np.arange(warm_up * STEPS) / (warm_up * STEPS)) * expected[0]
    np.testing.assert_allclose(rates[: warm_up * STEPS], line)
    assert WarmUp(5, component).on_plateau(0.3) == component.on_plateau(0.3)
    assert WarmUp(5, component).stopping_message == component.stopping_message


@pytest.mark.parametrize(
    ("warm_up", "calls"), [(3, [1, 1, 1, 1, 4]), (3, [2, 4, 2]), (2.5, [5, 5]), (8, [8]), (9, [3, 5]), (1, [1, 1])]
)
def test_a_warm_up_goes_on_from_call_to_call(warm_up, calls):
    """Each call of ``partial_fit`` plans its own descent, over what the warm-up leaves of it."""
    done = 0
    for planned in calls:
        here = np.arange(planned * STEPS) / STEPS
        epochs = done + here
        progress = Progress(epochs, epochs * STEPS, np.floor(epochs) * ROWS, here / planned, planned)
        rates = WarmUp(warm_up, Polynomial()).rate(1.0, progress)
        left = planned - np.clip(warm_up - done, 0, planned)
        down = 1 - np.maximum(here - (planned - left), 0) / max(left, 1e-9)
        np.testing.assert_allclose(rates, np.where(epochs < warm_up, 0.1 + 0.9 * epochs / warm_up, down), atol=1e-12)
        done += planned


def test_rows_and_steps_count_from_the_end_of_a_warm_up():
    seen = training().after(5)
    assert (seen.steps[: 5 * STEPS] == 0).all()
    np.testing.assert_allclose(seen.steps[5 * STEPS :], np.arange(35 * STEPS))
    np.testing.assert_allclose(seen.rows[5 * STEPS :], np.arange(35 * STEPS) // STEPS * ROWS)


@pytest.mark.parametrize(
    ("chosen", "said"),
    [
        ("cosine", ["one descent", "Give Cosine() in place of its name"]),
        (Cosine(), []),
        (Cosine(smallest=0.1), []),
        (WarmUp(3, "cosine"), ["when the warm-up ends", "one descent"]),
        (WarmUp(3, "step_decay"), ["when the warm-up ends", "Give StepDecay() in place"]),
        (WarmUp(3, Cosine()), []),
        (WarmUp(3, "constant"), []),
        (Cosine(10), []),
        ("cosine_restarts", []),
        (WarmUp(3), []),
        (WarmUp(3, ReduceOnPlateau()), []),
        (OneCycle(), []),
    ],
    ids=repr,
)
def test_changes_since_the_last_version_are_told_of_names(chosen, said):
    """A component says itself what is meant, and so can be given without a warning."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        warn_about_changes(chosen, SCHEDULES.resolve(chosen))
    assert [warning.category for warning in caught] == [FutureWarning] * bool(said)
    assert all(part in str(caught[0].message) for part in said)


@over_schedules
def test_plateaus_lower_the_rate_until_training_stops(component):
    rate = 0.3
    for _ in range(20):
        lower = component.on_plateau(rate)
        if lower is None:
            return
        assert 0 < lower < rate
        rate = lower
    pytest.fail("it never stops")


@over_schedules
def test_equal_by_value_hashable_and_pickled(component):
    for copy in (deepcopy(component), pickle.loads(pickle.dumps(component)), eval(repr(component))):
        assert copy == component
        assert hash(copy) == hash(component)
    assert SCHEDULES.resolve(component) is component
    assert SCHEDULES.resolve(component.name) == type(component)()


# --- errors -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: InverseScaling(-1), "power of InverseScaling must be a number in [0, inf); got -1."),
        (lambda: StepDecay(every=0), "every of StepDecay must be a number in [1, inf); got 0."),
        (lambda: StepDecay(factor=0), "factor of StepDecay must be a number in (0, 1]; got 0."),
        (lambda: MultiStep(factor=2), "factor of MultiStep must be a number in (0, 1]; got 2."),
        (lambda: Exponential(1.5), "factor of Exponential must be a number in (0, 1]; got 1.5."),
        (lambda: Polynomial(power=0), "power of Polynomial must be a number in (0, inf); got 0."),
        (lambda: Polynomial(end=-1), "end of Polynomial must be a number in [0, inf); got -1."),
        (lambda: Cosine(period=0), "period of Cosine must be a number in (0, inf); got 0."),
        (lambda: CosineRestarts(None), "period of CosineRestarts must be a number in (0, inf); got None."),
        (lambda: Cosine(growth=2), "growth of Cosine requires a period, such as Cosine(10, 2); got growth=2."),
        (lambda: Cosine(growth=0.5), "growth of Cosine must be a number in [1, inf); got 0.5."),
        (lambda: Cosine(smallest=math.nan), "smallest of Cosine must be a number in [0, inf); got nan."),
        (lambda: OneCycle(peak_at=1), "peak_at of OneCycle must be a number in (0, 1); got 1."),
        (lambda: OneCycle(start_factor=2), "start_factor of OneCycle must be a number in [0, 1]; got 2."),
        (lambda: OneCycle(end_factor=-1), "end_factor of OneCycle must be a number in [0, 1]; got -1."),
        (lambda: WarmUp(epochs=0), "epochs of WarmUp must be a number in (0, inf); got 0."),
        (lambda: WarmUp(start_factor="low"), "start_factor of WarmUp must be a number in [0, 1]; got 'low'."),
        (lambda: ReduceOnPlateau(factor=1), "factor of ReduceOnPlateau must be a number in (0, 1); got 1."),
        (lambda: ReduceOnPlateau(smallest=-1), "smallest of ReduceOnPlateau must be a number in [0, inf); got -1."),
        (lambda: Coslog(k=0), "k of Coslog must be a whole number in [1, inf); got 0."),
    ],
)
def test_bad_numbers(make, message):
    with pytest.raises(ValueError) as error:
        make()
    assert str(error.value) == message


@pytest.mark.parametrize("milestones", [[3, 5], (5, 3), (3, 3), (3, math.nan), ("3", "5"), 7, None])
def test_bad_milestones(milestones):
    with pytest.raises(ValueError) as error:
        MultiStep(milestones)
    assert str(error.value) == (
        f"milestones of MultiStep must be a tuple of increasing epochs such as (100, 150); got {milestones!r}."
    )


def test_warm_up_into_no_schedule():
    with pytest.raises(
        ValueError, match=r"^learning_rate must be one of 'adaptive', .*; got 'cosinus'\. Did you mean 'cosine'\?$"
    ):
        WarmUp(then="cosinus")


def record(path):
    """Write what the installed PyTorch does."""
    import torch

    rates = {repr(component): np.array(torch_rates(torch, component))[KEPT].tolist() for component in TORCH}
    lines = ",\n".join(f"{json.dumps(component)}: {json.dumps(values)}" for component, values in rates.items())
    text = f'{{"torch": "{torch.__version__}", "rates": {{\n{lines}\n}}}}\n'
    pathlib.Path(path).write_text(text, encoding="utf8")


if __name__ == "__main__":
    record(sys.argv[1])
