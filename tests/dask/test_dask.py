"""Training on a cluster: the bits of a training in this process, whatever happens to the workers."""

import os
import pickle
import re
import signal
import sys
import threading
import time

import numpy as np
import pytest
from problems import assert_same_weights
from sklearn.base import clone

from fastmlp import MLPClassifier, blocks
from fastmlp.dask import DaskMLPClassifier, DaskMLPRegressor, fitting
from fastmlp.dask import client as connection
from fastmlp.dask import cluster as rounds_there

array = pytest.importorskip("dask.array")
config = pytest.importorskip("dask.config")
distributed = pytest.importorskip("distributed")

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(600, 5)).astype(np.float32)
Y = (X[:, 0] + X[:, 1] > 0).astype(int) + (X[:, 2] > 1)
PARAMETERS = {"hidden_layer_sizes": (8,), "random_state": 0, "steps_per_round": 4, "n_rounds": 5, "batch_size": 50}


def classifier(**parameters):
    return DaskMLPClassifier(**{**PARAMETERS, "n_shards": 2, **parameters})


def collections(rows=300):
    return array.from_array(X, chunks=(rows, 5)), array.from_array(Y, chunks=rows)


@pytest.fixture(scope="module")
def cluster():
    with (
        config.set({"distributed.deploy.lost-worker-timeout": "120s"}),  # a busy machine starts workers slowly
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None, silence_logs=50
        ) as made,
    ):
        yield made


@pytest.fixture
def client(cluster):
    with distributed.Client(cluster, set_as_default=False) as made:
        made.wait_for_workers(2, timeout=120)
        yield made


@pytest.fixture(scope="module")
def expected():
    """Two shards in this process."""
    return classifier(backend="local").fit(X, Y)


# --- without a cluster ------------------------------------------------------------------------------------------------


def test_backends_on_this_machine_give_the_same_model(expected):
    assert_same_weights(classifier(backend="joblib").fit(X, Y), expected)
    assert_same_weights(classifier(backend="local").fit(*collections()), expected)
    assert_same_weights(classifier(backend="local").fit(blocks.from_arrays(X, Y, block_rows=300)), expected)
    assert expected.loss_curve_[-1] < expected.loss_curve_[0]
    assert expected.n_iter_ == 5


def test_the_number_of_shards_is_part_of_the_model(expected):
    assert not np.array_equal(classifier(backend="local", n_shards=3).fit(X, Y).coefs_[0], expected.coefs_[0])


def test_many_rounds_learn():
    model = classifier(backend="local", n_rounds=100, learning_rate_init=0.02, outer="nesterov").fit(X, Y)
    assert model.score(X, Y) > 0.75
    averaged = classifier(backend="local", n_rounds=100, learning_rate_init=0.02).fit(X, Y)
    assert averaged.score(X, Y) > 0.75


def test_a_regressor():
    y = X @ np.arange(5.0)
    model = DaskMLPRegressor(**{**PARAMETERS, "n_rounds": 100}, backend="local", learning_rate_init=0.02).fit(X, y)
    assert model.score(X, y) > 0.9


def test_classes_missing_in_a_shard_and_shards_of_unequal_size():
    order = np.argsort(Y, kind="stable")
    rows = blocks.Blocks(
        ["a", "b", "c"],
        lambda n: (
            X[order][[0, 350, 590][n] :][: [350, 240, 10][n]],
            Y[order][[0, 350, 590][n] :][: [350, 240, 10][n]],
        ),
    )
    model = classifier(backend="local", n_shards=3, n_rounds=60, learning_rate_init=0.02).fit(rows)
    assert list(model.classes_) == [0, 1, 2]
    assert model.score(X, Y) > 0.7


def test_more_shards_than_rows_in_some():
    model = classifier(backend="local", n_shards=50).fit(X[:20], Y[:20] > 0)
    assert np.isfinite(model.coefs_[0]).all()


def test_early_stopping_and_a_checkpoint(tmp_path, expected):
    validation = {"X_val": X[:60], "y_val": Y[:60]}
    model = classifier(backend="local", early_stopping=True, n_rounds=30, n_iter_no_change=2).fit(X, Y, **validation)
    assert len(model.validation_scores_) == model.n_iter_
    path = tmp_path / "checkpoint"
    classifier(backend="local", checkpoint=path).fit(X, Y)
    again = classifier(backend="local", checkpoint=path).fit(X, Y)  # all rounds are in the file
    assert_same_weights(again, expected)
    with pytest.raises(ValueError, match="has another batch_size"):
        classifier(backend="local", checkpoint=path, batch_size=25).fit(X, Y)


def test_parameters_are_those_of_both(expected):
    assert expected.get_params()["n_shards"] == 2
    assert expected.get_params()["alpha"] == 1e-4
    assert clone(expected).get_params().keys() == expected.get_params().keys()
    assert set(MLPClassifier().get_params()) < set(expected.get_params())
    assert "steps_per_round" in repr(expected)
    local = expected.to_local()
    assert type(local) is MLPClassifier
    np.testing.assert_array_equal(local.predict_proba(X), expected.predict_proba(X))


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"backend": "spark"}, "backend must be one of 'dask', 'joblib', 'local'; got 'spark'."),
        ({"outer": "adam"}, "outer must be one of 'average', 'nesterov'; got 'adam'."),
        ({"n_shards": 0}, "n_shards must be an int in the range [1, inf); got 0."),
        ({"steps_per_round": 1.5}, "steps_per_round must be an int in the range [1, inf); got 1.5."),
        ({"outer_momentum": 1}, "outer_momentum must be a number in the range [0, 1); got 1."),
        ({"solver": "lbfgs"}, "solver must be one that takes steps, such as 'adam', to train by rounds; got 'lbfgs'."),
        ({"initializer": "data_driven"}, "initializer must be one that looks at no rows where X is blocks"),
        ({"early_stopping": True}, "early_stopping=True needs X_val and y_val, a validation block"),
        ({"backend": "dask"}, "client must be a dask.distributed.Client, or one must be open; got None."),
    ],
)
def test_bad_parameters(parameters, message):
    model = classifier(**{"backend": "local", **parameters})
    with pytest.raises(ValueError, match=re.escape(message)):
        model.fit(X, Y)
    assert not hasattr(model, "coefs_")


def test_an_interrupt_leaves_the_weights_of_the_latest_round(monkeypatch):
    def interrupt(verbose, progression):
        if len(progression.losses) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(fitting, "_report", interrupt)
    with pytest.warns(UserWarning, match="interrupted"):
        model = classifier(backend="local").fit(X, Y)
    monkeypatch.undo()
    assert model.n_iter_ == 2
    assert_same_weights(model, classifier(backend="local", n_rounds=2).fit(X, Y))


def test_partial_fit_is_not_there(expected):
    with pytest.raises(AttributeError, match="use to_local"):
        expected.partial_fit(X, Y)


def test_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(ImportError, match=re.escape("pip install 'fastmlp[dask]'")):
        classifier().fit(X, Y)


# --- on a cluster -----------------------------------------------------------------------------------------------------


def test_a_cluster_gives_the_bits_of_this_process(client, expected):
    model = classifier(client=client).fit(*collections())
    assert_same_weights(model, expected)
    assert model.loss_curve_ == expected.loss_curve_
    lazy = model.predict(collections()[0])
    assert lazy.dtype == Y.dtype
    np.testing.assert_array_equal(lazy.compute(), expected.predict(X))
    np.testing.assert_array_equal(model.predict_proba(collections(150)[0]).compute(), expected.predict_proba(X))
    stored = pickle.loads(pickle.dumps(model))
    assert stored.client is None
    np.testing.assert_array_equal(stored.predict(X), expected.predict(X))
    assert_same_weights(classifier(client=client).fit(X, Y), expected)  # arrays are sent to the workers
    one = classifier(client=client, n_shards=1).fit(*collections(600))  # one partition
    assert_same_weights(one, classifier(backend="local", n_shards=1).fit(X, Y))


def test_more_shards_than_workers(client):
    for n_shards in (5, 7):  # of unequal size, and some of fewer rows than a batch
        model = classifier(client=client, n_shards=n_shards, batch_size=100).fit(*collections(50))
        local = classifier(backend="local", n_shards=n_shards, batch_size=100)
        assert_same_weights(model, local.fit(blocks.from_arrays(X, Y, block_rows=50)))


def kill_workers(client, cluster):
    """kill -9; the nanny starts the workers anew, and what they held is sent or computed anew.

    Both workers are killed, since either may hold the rows.
    """
    for pid in client.run(os.getpid).values():
        os.kill(pid, signal.SIGKILL)


def restart_workers(client, cluster):
    client.restart_workers(list(client.scheduler_info()["workers"]), timeout=120)


def scale_up_and_down(client, cluster):
    cluster.scale(3)
    client.wait_for_workers(3, timeout=60)
    cluster.scale(1)
    cluster.scale(2)


@pytest.mark.parametrize(
    ("disturb", "arrays"),
    [(kill_workers, False), (kill_workers, True), (restart_workers, False), (scale_up_and_down, False)],
)
def test_what_happens_to_workers_in_a_training_costs_no_bit(client, cluster, monkeypatch, disturb, arrays):
    begun, done = threading.Event(), threading.Event()
    plain = fitting._report

    def report(verbose, progression):
        plain(verbose, progression)
        if len(progression.losses) == 3:
            begun.set()
        if len(progression.losses) == 30:
            done.wait(120)  # the last rounds begin when it has happened

    def happen():
        begun.wait(120)
        with distributed.Client(cluster, set_as_default=False) as own:
            disturb(own, cluster)
        done.set()

    monkeypatch.setattr(fitting, "_report", report)
    thread = threading.Thread(target=happen)
    thread.start()
    model = classifier(client=client, n_rounds=40).fit(*((X, Y) if arrays else collections()))
    thread.join()
    assert done.is_set()
    assert_same_weights(model, classifier(backend="local", n_rounds=40).fit(X, Y))


@pytest.mark.parametrize("error", [KeyError("tcp://127.0.0.1:1"), ValueError("Sample larger than population")])
def test_a_worker_that_leaves_while_the_state_is_sent_costs_no_bit(client, expected, monkeypatch, error):
    scatter, errors = client.scatter, [error]

    def disturbed(*arguments, **options):
        if errors:
            raise errors.pop()  # what the scheduler raises for a worker that has gone meanwhile
        return scatter(*arguments, **options)

    monkeypatch.setattr(client, "scatter", disturbed)
    assert_same_weights(classifier(client=client).fit(*collections()), expected)
    assert not errors


def test_a_block_that_is_wrong_on_a_worker(client):
    bad = X.copy()
    bad[450, 2] = np.nan
    with pytest.raises(ValueError, match=re.escape("X must be finite; row 150 of partition 1 is not.")):
        classifier(client=client).fit(array.from_array(bad, chunks=(300, 5)), collections()[1])
    with pytest.raises(ValueError, match=re.escape("y must have the 2 partitions of X; got 4. Rechunk it.")):
        classifier(client=client).fit(collections()[0], array.from_array(Y, chunks=150))


class Locked:
    """A callback of scikit-learn's that cannot be pickled."""

    max_estimator_depth = 1

    def __reduce__(self):
        raise TypeError("it holds a lock")

    def setup(self, estimator, context):
        pass

    def on_fit_task_begin(self, context, **arguments):
        pass

    def on_fit_task_end(self, context, **arguments):
        pass

    def teardown(self, estimator, context):
        pass


def test_what_cannot_be_sent_to_workers(client):
    lock = threading.Lock()
    model = classifier(client=client, progress=lambda *sizes: lock)
    model.fit(*collections())  # what watches a training stays here
    model = classifier(client=client)
    model.set_callbacks(Locked())
    with pytest.raises(ValueError, match="parameters that can be pickled for workers: it holds a lock"):
        model.fit(*collections())
    assert not hasattr(model, "coefs_")


def test_workers_of_another_version(client, monkeypatch):
    monkeypatch.setattr(connection, "__version__", "9.9")
    with pytest.raises(ValueError, match=r"has fastmlp [\d.\w]+, this process 9\.9\. Install the same on all\."):
        classifier(client=client).fit(*collections())


def test_a_client_that_is_closed(cluster):
    made = distributed.Client(cluster, set_as_default=False)
    made.close()
    with pytest.raises(ValueError, match="client must be connected to a scheduler; got one that is closed"):
        classifier(client=made).fit(*collections())


def test_a_cluster_without_workers_is_an_error(monkeypatch):
    monkeypatch.setattr(rounds_there, "PATIENCE_WITHOUT_WORKERS", 1)
    monkeypatch.setattr(rounds_there, "SCATTER_PATIENCE", 1)
    with (
        distributed.LocalCluster(n_workers=0, processes=False, dashboard_address=None, silence_logs=50) as empty,
        distributed.Client(empty, set_as_default=False) as made,
        pytest.raises(RuntimeError, match="client must have a scheduler with workers; it has been running without"),
    ):
        classifier(client=made).fit(*collections())


def test_a_scheduler_that_dies_is_an_error(monkeypatch):
    monkeypatch.setattr(rounds_there, "PATIENCE", 1)
    with (
        distributed.LocalCluster(
            n_workers=1, threads_per_worker=1, processes=False, dashboard_address=None, silence_logs=50
        ) as own,
        distributed.Client(own, set_as_default=False) as made,
    ):
        model = classifier(client=made, n_rounds=10_000)

        def die():
            time.sleep(3)
            own.close(timeout=5)

        thread = threading.Thread(target=die)
        thread.start()
        began = time.monotonic()
        with pytest.raises(RuntimeError, match="client must have a scheduler"):
            model.fit(*collections())
        assert time.monotonic() - began < 60
        assert not hasattr(model, "coefs_")
        thread.join()
