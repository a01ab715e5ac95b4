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
    start = time.perf_counter()
    fit(epochs)
    return time.perf_counter() - start


def assert_same_answer(workload, data, fits, *, dtype="float32", epochs=2, rtol=2e-2):
    """From the same weights through the same batches, every side must reach the same loss, within `rtol`.

    In float32 the rounding of a few hundred Adam steps may show in the third digit; a wrong gradient in the first.
    """
    start = make_start(workload, dtype, epochs)
    untrained = mean_loss(workload, *data, start.coefs, start.intercepts)
    losses = {side: mean_loss(workload, *data, *fit(epochs, start)) for side, fit in fits.items()}
    expected = losses["scikit-learn"]
    assert expected < untrained
    for side, loss in losses.items():
        assert loss == pytest.approx(expected, rel=rtol), f"{side} reaches {loss}, scikit-learn {expected}"


def race(benchmark, fits, epochs, rounds=ROUNDS):
    """Best seconds per epoch of each side; the first side is the one that the fixture times.

    The best is taken of either fit before they are subtracted: the least difference of a pair would be the one whose
    short fit was disturbed most.

    fits : dict of side -> callable(epochs)
    """
    leader, *others = fits
    short, long = ({side: [] for side in fits} for _ in range(2))
    for fit in fits.values():
        fit(1)  # what is compiled or loaded once

    def run(side):
        short[side].append(timed(fits[side], epochs))
        long[side].append(timed(fits[side], 3 * epochs))

    def let_others_run():
        for side in others:
            time.sleep(REST)
            run(side)
        time.sleep(REST)

    gc.collect()
    gc.freeze()  # what the peers have imported is looked through by no collection during the fits
    benchmark.pedantic(run, (leader,), setup=let_others_run, rounds=rounds, iterations=1)
    gc.unfreeze()
    best = {side: (min(long[side]) - min(short[side])) / (2 * epochs) for side in fits}
    benchmark.extra_info["epochs"] = [epochs, 3 * epochs]
    benchmark.extra_info["seconds"] = {side: [short[side], long[side]] for side in fits}
    benchmark.extra_info["seconds_per_epoch"] = best
    return best
