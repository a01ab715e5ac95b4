"""The harness of faults: each of them once, and the seeds that ever failed."""

import itertools
import os
import time

import pytest
from faults.cases import FAULTS, run
from seeds import failures_of

SEED = 2  # with which the trial of damaged caches compiles nothing
FAILED = ()  # (fault, seed) that found something once


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.parametrize(("name", "seed"), [*((name, SEED) for name in FAULTS), *FAILED])
def test_fault(name, seed):
    assert not run(name, seed)


def test_the_command_counts_what_fails(capsys, monkeypatch):
    now = itertools.count()
    monkeypatch.setattr(time, "monotonic", lambda: next(now))
    assert failures_of(lambda seed: [f"wrong with {seed}"] * (seed % 2), 3.5, 7) == 2
    assert capsys.readouterr().out.splitlines() == [
        "--- wrong with 7",
        "--- wrong with 9",
        "3 seeds from 7, 2 failures",
    ]
