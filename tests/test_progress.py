"""Bars of progress: one, several at once in threads or inside each other, and beside another program's display."""

import io
import threading

import pytest

from fastmlp import MLPClassifier, progress

rich = pytest.importorskip("rich")


@pytest.fixture
def console():
    from rich.console import Console

    return Console(file=io.StringIO(), force_terminal=True, width=100)


def text_of(console):
    return console.file.getvalue()


def test_a_bar_shows_epochs_loss_and_speed(console):
    with progress.bar(4, 100, console, "fit ") as shown:
        shown.update(2, 50, 0.25)
    assert "fit epoch 2/4" in text_of(console)
    assert "loss 0.25" in text_of(console)
    assert progress._shown == {}


def test_a_bar_inside_another(console):
    with progress.bar(2, 10, console, "search ") as outer:
        for epochs in (1, 2):
            with progress.bar(3, 10, console, f"fit {epochs} ") as inner:
                inner.update(3, 0, 0.5)
                inner.draw()
                assert inner.progress is outer.progress
                assert len(outer.progress.tasks) == 2
            outer.update(epochs, 0, None)
        assert len(outer.progress.tasks) == 1
    text = text_of(console)
    assert "fit 1 epoch 3/3  loss 0.5" in text
    assert "fit 2 epoch 3/3  loss 0.5" in text
    assert "search epoch 2/2" in text
    assert progress._shown == {}


def test_bars_of_threads(console):
    barrier = threading.Barrier(4)
    errors = []

    def fit(number):
        try:
            with progress.bar(5, 10, console, f"fit {number} ") as shown:
                barrier.wait(30)
                for epoch in range(1, 6):
                    shown.update(epoch, 0, 1 / epoch)
                    shown.draw()
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=fit, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert all(f"fit {number} epoch 5/5" in text_of(console) for number in range(4))
    assert progress._shown == {}


def test_a_bar_ends_with_an_error(console):
    def fail():
        with progress.bar(4, 100, console) as shown:
            shown.update(1, 0, 0.5)
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert progress._shown == {}


def test_beside_the_display_of_another_program(console):
    """The user's own live display goes on; before rich 14.1 a second one is refused, and the bar draws nothing."""
    from rich.live import Live

    with Live("mine", console=console, auto_refresh=False), progress.bar(4, 100, console) as shown:
        shown.update(1, 0, 0.5)
        shown.draw()
    assert "mine" in text_of(console)
    assert progress._shown == {}


def test_where_a_second_display_is_refused(console, monkeypatch):
    from rich.errors import LiveError
    from rich.progress import Progress

    def refuse(self):
        raise LiveError("Only one live display may be active at once")

    monkeypatch.setattr(Progress, "start", refuse)
    with progress.bar(4, 100, console) as shown, progress.bar(4, 100, console) as second:
        for each in (shown, second):
            each.update(1, 0, 0.5)
            each.draw()
    assert text_of(console) == ""


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_fits_in_threads_with_the_same_bar(console):
    from functools import partial

    def fit():
        MLPClassifier((3,), max_iter=3, progress=partial(progress.bar, console=console)).fit(
            [[0.0], [1.0]] * 9, [0, 1] * 9
        )

    threads = [threading.Thread(target=fit) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert text_of(console).count("epoch 3/3") >= 2
    assert progress._shown == {}
