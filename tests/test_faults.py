"""The harness of faults: each of them once, and the seeds that ever failed."""

import os

import pytest
from faults.cases import FAULTS, run

FAILED = ()  # (fault, seed) that found something once


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.parametrize(("name", "seed"), [*((name, 1) for name in FAULTS), *FAILED])
def test_fault(name, seed):
    assert not run(name, seed)
