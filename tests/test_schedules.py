"""Schedules: the rates that scikit-learn's optimizer would use."""

import pytest
from sklearn.neural_network._stochastic_optimizers import SGDOptimizer

from fastmlp.schedules import SCHEDULES, SMALLEST_ADAPTIVE_RATE


@pytest.mark.parametrize("name", SCHEDULES)
def test_rates_are_those_of_scikit_learn(name, capsys):
    """The same rate after each epoch, the same decision and the same words at each plateau."""
    theirs = SGDOptimizer([], learning_rate_init=0.3, lr_schedule=name, power_t=0.4)
    schedule, rate = SCHEDULES[name], 0.3
    for epoch in range(1, 30):
        theirs.iteration_ends(100 * epoch)
        rate = schedule.after_epoch(rate, 0.3, 100 * epoch, 0.4)
        assert rate == theirs.learning_rate
        if epoch % 2:
            stops = theirs.trigger_stopping("Plateau.", verbose=True)
            next_rate = schedule.on_plateau(rate)
            assert (next_rate is None) == stops
            words = capsys.readouterr().out.strip()
            if stops:
                assert words == "Plateau. " + schedule.stopping_words
            else:
                assert next_rate == theirs.learning_rate
                rate = next_rate


def test_adaptive_gives_up_at_the_smallest_rate():
    on_plateau = SCHEDULES["adaptive"].on_plateau
    assert on_plateau(SMALLEST_ADAPTIVE_RATE) is None
    assert on_plateau(1.01 * SMALLEST_ADAPTIVE_RATE) is not None
