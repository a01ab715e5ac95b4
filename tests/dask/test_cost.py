"""Rounds on paper: bytes of real states, and what more workers, links and steps do."""

import pickle

import numpy as np
import pytest

from fastmlp.core.network import Network
from fastmlp.dask.cost import exchange_seconds, round_seconds, rows_that_pay, speed_up, state_bytes
from fastmlp.optimizers import Adam
from fastmlp.rounds import State

UNITS = (54, 256, 256, 256, 7)


def test_bytes_are_those_of_a_state():
    network = Network(UNITS, dtype="float32", activation="relu", loss="log_loss", optimizer=Adam(), output="softmax")
    with network.session(np.zeros((4, 54), np.float32), np.arange(4), batch_size=4, n_threads=1) as session:
        session.epoch(np.arange(4), learning_rate=0.1, alpha=0.0)
    state = State(network.parameters(), network.take_states(), 1)
    assert len(pickle.dumps(state, protocol=5)) == pytest.approx(state_bytes(UNITS), rel=0.01)


def test_a_round_is_its_steps_and_its_exchange():
    one, two = (round_seconds(UNITS, 256, steps, 10) for steps in (100, 200))
    assert two - one == pytest.approx(one - exchange_seconds(UNITS, 10))
    assert exchange_seconds(UNITS, 1, bandwidth=1e9, latency=0) == pytest.approx(4 * state_bytes(UNITS) / 1e9)
    assert exchange_seconds(UNITS, 16, bandwidth=1e9, latency=0) == pytest.approx(23 * state_bytes(UNITS) / 1e9)


def test_from_the_rows_that_pay_on_half_of_the_workers_are_won():
    rows = rows_that_pay(UNITS, 256, 100)
    assert rows % 256 == 0
    assert speed_up(UNITS, 256, rows // 256, 100) >= 50
    assert speed_up(UNITS, 256, rows // 256 - 1, 100) < 50
    assert speed_up(UNITS, 256, 10**9, 100) == pytest.approx(100, rel=1e-3)
