"""Sides, what each must agree on, and the race between them. The rules are in the package's docstring."""

import gc
import time

import pytest

from benchmarks.workloads import make_start, mean_loss

ROUNDS = 5
REST = 0.2  # seconds between two sides: the threads of BLAS and OpenMP spin on for a while


def bar(name, measured, *, must, aim=None, unit="×", better="higher"):
    """A promise: `measured` reaches `must` and, better still, `aim`."""
    return {"name": name, "measured": measured, "must": must, "aim": aim, "unit": unit, "better": better}


def timed(fit, epochs):
    """Seconds of one fit."""
    gc.collect()
    start = time.perf_counter()
    fit(epochs)
    return time.perf_counter() - start


def seconds_per_epoch(fit, epochs):
    """(fit of 3e epochs - fit of e epochs) / 2e."""
    short = timed(fit, epochs)
    return (timed(fit, 3 * epochs) - short) / (2 * epochs)


def assert_same_answer(workload, data, fits, *, dtype="float32", epochs=2, rtol=5e-3):
    """From the same weights through the same batches, every side must reach the same loss, within `rtol`.

    In float32 the rounding of a few hundred Adam steps shows in the third digit; a wrong gradient in the first.
    """
    start = make_start(workload, dtype, epochs)
    untrained = mean_loss(workload, *data, start.coefs, start.intercepts)
    losses = {side: mean_loss(workload, *data, *fit(epochs, start)) for side, fit in fits.items()}
    expected = losses["scikit-learn"]
    assert expected < untrained
    for side, loss in losses.items():
        assert loss == pytest.approx(expected, rel=rtol), f"{side} reaches {loss}, scikit-learn {expected}"


def race(benchmark, fits, epochs, rounds=ROUNDS):
    """Seconds per epoch of each side, one number a round; the first side is the one that the fixture times.

    fits : dict of side -> callable(epochs)
    """
    leader, *others = fits
    seconds = {side: [] for side in fits}
    for fit in fits.values():
        fit(1)  # what is compiled or loaded once

    def let_others_run():
        for side in others:
            time.sleep(REST)
            seconds[side].append(seconds_per_epoch(fits[side], epochs))
        time.sleep(REST)

    def lead():
        seconds[leader].append(seconds_per_epoch(fits[leader], epochs))

    benchmark.pedantic(lead, setup=let_others_run, rounds=rounds, iterations=1)
    benchmark.extra_info["seconds"] = seconds
    return {side: min(values) for side, values in seconds.items()}
