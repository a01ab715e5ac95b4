"""Who looks on during a fit: scikit-learn's callbacks, the display of progress, and what they cost."""

import io
import sys
import types

import numpy as np
import pytest
from problems import comes_true, small
from sklearn.model_selection import GridSearchCV
from source_files import module_of

from fastmlp import MLPClassifier, MLPRegressor
from fastmlp.estimators import events, sklearn_internals
from fastmlp.progress import bar

try:
    from sklearn import callback
except ImportError:
    callback = None

with_callbacks = pytest.mark.scikit_learn("1.9")
ESTIMATORS = (MLPClassifier, MLPRegressor)

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


class Diary:
    """A callback that notes all that happens, and asks to stop after some epochs."""

    def __init__(self, stop_after=None):
        self.stop_after = stop_after
        self.events = []
        self.weights = []
        self.shapes = []

    def setup(self, estimator, context):
        self.events.append("setup")

    def teardown(self, estimator, context):
        self.events.append("teardown")

    def on_fit_task_begin(self, estimator, context):
        self.events.append(f"begin {context.task_name}")

    def on_fit_task_end(self, estimator, context, *, X=None, y=None, metadata=None, fitted_estimator=None):
        self.events.append(f"end {context.task_name}")
        if context.task_name == "epoch":
            self.shapes.append((len(X), len(y), None if metadata is None else len(metadata["sample_weight"])))
            assert len(fitted_estimator.predict(X)) == len(y)
            self.weights.append(fitted_estimator.coefs_[0])
            return context.task_id + 1 == self.stop_after
        return None


# --- callbacks --------------------------------------------------------------------------------------------------------


@with_callbacks
@pytest.mark.parametrize("ours", ESTIMATORS)
def test_callbacks_are_told_of_every_epoch(ours, digits):
    diary = Diary()
    estimator = small(ours).set_callbacks(diary).fit(*digits)
    epochs = ["begin epoch", "end epoch"] * 3
    assert diary.events == ["setup", "begin fit", *epochs, "end fit", "teardown"]
    np.testing.assert_array_equal(diary.weights[-1], estimator.coefs_[0])
    assert not np.array_equal(diary.weights[0], diary.weights[1])
    np.testing.assert_array_equal(estimator.coefs_[0], small(ours).fit(*digits).coefs_[0])
    diary.events.clear()
    estimator.partial_fit(*digits)
    assert diary.events == ["setup", "begin partial_fit", *epochs[:2], "end partial_fit", "teardown"]


@with_callbacks
def test_a_callback_may_stop_the_training(digits, recwarn):
    diary = Diary(stop_after=4)
    estimator = small(MLPClassifier, max_iter=20).set_callbacks(diary).fit(*digits)
    assert estimator.n_iter_ == 4
    assert len(estimator.loss_curve_) == len(estimator.history_["seconds"]) == 4
    assert not recwarn.list
    np.testing.assert_array_equal(estimator.coefs_[0], small(MLPClassifier, max_iter=4).fit(*digits).coefs_[0])


@with_callbacks
def test_callbacks_see_the_rows_that_are_trained_on(digits):
    X, y = digits
    diary = Diary()
    small(MLPClassifier, early_stopping=True).set_callbacks(diary).fit(X, y, np.ones(400))
    assert diary.shapes == [(360, 360, 360)] * 3


@with_callbacks
def test_lbfgs_is_one_task(digits):
    diary = Diary()
    small(MLPClassifier, solver="lbfgs").set_callbacks(diary).fit(*digits)
    assert diary.events == ["setup", "begin fit", "end fit", "teardown"]


@with_callbacks
def test_callbacks_are_torn_down_after_an_error(digits):
    X, y = digits
    diary = Diary()
    diary.on_fit_task_end = lambda estimator, context: 1 / 0
    estimator = small(MLPClassifier).set_callbacks(diary)
    with pytest.raises(ZeroDivisionError):
        estimator.fit(X, y)
    assert diary.events[-1] == "teardown"
    assert not hasattr(estimator, "coefs_")
    assert not hasattr(estimator, "_callback_fit_ctx")


@with_callbacks
def test_scoring_monitor(digits):
    X, y = digits
    monitor = callback.ScoringMonitor(scoring="accuracy")
    estimator = small(MLPClassifier, metrics="accuracy").set_callbacks(monitor).fit(X, y)
    assert comes_true(lambda: monitor._log and len(monitor.get_logs().data) == 3)  # it arrives by another thread
    assert [row["accuracy"] for row in monitor.get_logs().data] == estimator.history_["accuracy"]


@with_callbacks
def test_progress_bar_of_scikit_learn(digits, capsys):
    search = GridSearchCV(small(MLPClassifier), {"alpha": [0.1, 1.0]}, cv=2)
    search.set_callbacks(callback.ProgressBar()).fit(*digits)
    assert "MLPClassifier - fit" in capsys.readouterr().out


# --- progress ---------------------------------------------------------------------------------------------------------


class Display:
    def __init__(self, max_epochs, n_rows):
        self.calls = [(max_epochs, n_rows)]
        self.open = False

    def __enter__(self):
        self.open = True
        return self

    def __exit__(self, *exception):
        self.open = False

    def update(self, epochs, rows, loss):
        assert self.open
        self.calls.append((epochs, rows, loss))


@pytest.mark.parametrize("ours", ESTIMATORS)
def test_display_is_told_of_rows_and_epochs(ours, digits, monkeypatch):
    displays = []
    monkeypatch.setattr("fastmlp.machine.pacing.Pacing.operations", lambda *_: 1)  # rows are reported batch by batch

    def progress(max_epochs, n_rows):
        displays.append(Display(max_epochs, n_rows))
        return displays[-1]

    estimator = small(ours, progress=progress, batch_size=100).fit(*digits)
    first, *calls = displays[0].calls
    assert first == (3, 400)
    losses = [None, *estimator.loss_curve_]
    assert calls == [
        call
        for epoch in range(3)
        for call in (
            *((epoch, rows, losses[epoch]) for rows in (100, 200, 300, 400)),
            (epoch + 1, 0, losses[epoch + 1]),
        )
    ]
    assert not displays[0].open


def test_the_bar_of_rich(digits):
    console = pytest.importorskip("rich.console").Console(file=io.StringIO(), width=100, force_terminal=True)
    estimator = small(MLPClassifier, progress=lambda *sizes: bar(*sizes, console=console)).fit(*digits)
    text = console.file.getvalue()
    assert "epoch 3/3" in text
    assert f"loss {estimator.loss_:.4g}" in text
    assert "rows/s" in text


def test_the_bar_moves_within_an_epoch(monkeypatch):
    """Rows of the present epoch count; the time left follows from them."""
    console = pytest.importorskip("rich.console").Console(file=io.StringIO(), width=100, force_terminal=True)
    now = [100.0]
    monkeypatch.setattr("fastmlp.progress.time", types.SimpleNamespace(monotonic=lambda: now[0]))
    with bar(2, 1000, console=console) as shown:
        task = shown.progress.tasks[0]
        for rows in (100, 200, 300):
            now[0] += 1
            shown.update(0, rows, None)
            assert task.completed == rows
            assert task.fields["facts"] == "100 rows/s"
        assert "epoch 1/2" in console.file.getvalue()
        shown.update(1, 0, 0.5)
        assert (task.total, task.finished) == (2000, False)
    assert (task.completed, task.total, task.fields["epochs"]) == (1000, 1000, "epoch 1/2")  # it ended after one
    assert any("TimeRemaining" in type(column).__name__ for column in shown.progress.columns)


def test_the_bar_needs_rich(monkeypatch, digits):
    monkeypatch.setitem(sys.modules, "rich.progress", None)
    with pytest.raises(
        ImportError, match=r'fastmlp.progress.bar needs rich; install it with pip install "fastmlp\[rich\]"'
    ):
        small(MLPClassifier, progress=bar).fit(*digits)


# --- costs ------------------------------------------------------------------------------------------------------------


def test_scikit_learn_without_callbacks(monkeypatch):
    """Before 1.9 there is nothing to import, and nothing else changes."""
    monkeypatch.setitem(sys.modules, "sklearn.callback", None)
    earlier = module_of(sklearn_internals.__file__, "fastmlp.estimators.earlier")
    assert not hasattr(earlier.CallbackSupportMixin, "set_callbacks")
    assert earlier.with_callbacks(len) is len
    assert events.SklearnCallbacks(MLPClassifier(), "fit", 3, None, None, None).callbacks(None, None, False) == []
