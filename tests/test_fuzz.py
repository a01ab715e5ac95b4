"""The fuzzer's checks on some cases, on those that ever failed, and by both ways of differentiation."""

import pytest
from fuzz.cases import CHECKS, check_against_independent
from fuzz.independent import GraphBackend

FAILED = ()  # seeds that found a fault once


@pytest.mark.parametrize("seed", [*range(12), *FAILED])
@pytest.mark.parametrize("check", CHECKS)
def test_cases(check, seed):
    check(seed)


@pytest.mark.parametrize("seed", range(12))
def test_graph_is_a_second_opinion(seed):
    check_against_independent(seed, GraphBackend)
