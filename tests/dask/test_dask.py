"""Training on a cluster: the bits of a training in this process, whatever happens to the workers."""

import contextlib
import os
import pickle
import re
import signal
import sys
import threading
import time
import types
import warnings

import numpy as np
import pytest
from problems import assert_same_weights
from scipy import sparse
from sklearn.base import clone

from fastmlp import MLPClassifier, blocks
from fastmlp.dask import DaskMLPClassifier, DaskMLPRegressor, fitting, sources
from fastmlp.dask import client as connection
from fastmlp.dask import cluster as rounds_there

dask = pytest.importorskip("dask")
array = pytest.importorskip("dask.array")
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


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"outer": "nesterov"}, "has another outer. Remove the file to begin anew."),
        ({"class_weight": {0: 2, 1: 1, 2: 1}}, "has another class_weight."),
        ({"random_state": None}, "has another seed (give random_state an int)."),
        ({"X": X + 1}, "has other data."),
        ({"y": np.array(["a", "b", "c"])[Y]}, "has other data."),
    ],
)
def test_a_checkpoint_of_another_training(tmp_path, changes, message):
    path = tmp_path / "checkpoint"
    classifier(backend="local", checkpoint=path).fit(X, Y)
    rows, labels = changes.get("X", X), changes.get("y", Y)
    parameters = {name: value for name, value in changes.items() if name not in "Xy"}
    with pytest.raises(ValueError, match=re.escape(message)):
        classifier(backend="local", checkpoint=path, **parameters).fit(rows, labels)


def test_a_checkpoint_of_labels_that_are_objects(tmp_path):
    labels = np.array(["a", "b", "c"], object)[Y]
    models = [classifier(backend="local", checkpoint=tmp_path / "checkpoint") for _ in range(2)]
    assert_same_weights(*(model.fit(X, labels.copy()) for model in models))


def test_a_training_that_has_stopped_goes_no_further_from_its_checkpoint(tmp_path):
    parameters = {"early_stopping": True, "n_rounds": 40, "n_iter_no_change": 2, "learning_rate_init": 0.05}
    models = [classifier(backend="local", checkpoint=tmp_path / "checkpoint", **parameters) for _ in range(2)]
    for model in models:
        model.fit(X, Y, X_val=X[:50], y_val=(Y[:50] + 1) % 3)
    assert models[0].n_iter_ == models[1].n_iter_ < 40
    assert_same_weights(*models)


def test_validation_rows_without_early_stopping_are_recorded(expected):
    model = classifier(backend="local").fit(X, Y, X_val=X[:60], y_val=Y[:60])
    assert_same_weights(model, expected)
    assert len(model.validation_loss_curve_) == 5
    assert model.history_["val_loss"] == model.validation_loss_curve_
    assert model.validation_scores_ is None


class Shown:
    """A display of progress that notes what it is told."""

    def __init__(self):
        self.told = []

    def __call__(self, *sizes):
        self.told.append(sizes)
        return self

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.told.append("end")

    def update(self, rounds, rows, loss):
        self.told.append((rounds, loss))


def test_progress_over_rounds():
    shown = Shown()
    model = classifier(backend="local", progress=shown).fit(X, Y)
    assert shown.told == [(5, 2 * 4 * 50), *enumerate(model.loss_curve_, 1), "end"]


def test_a_clone_has_the_same_client():
    class Client:
        def __deepcopy__(self, memo):
            raise TypeError("it holds a socket")

    model = classifier(client=Client())
    assert clone(model).client is model.client


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
        ({"n_estimators": 2}, "n_estimators must be 1 to train by rounds; got 2. Fit members one by one."),
        ({"max_time": 9.0}, "max_time must be left at its default to train by rounds; got 9.0."),
        ({"augmentation": "mixup"}, "augmentation must be left at its default to train by rounds"),
        ({"metrics": "accuracy"}, "metrics must be left at its default to train by rounds; got 'accuracy'."),
        ({"weight_averaging": 0.5}, "weight_averaging must be left at its default to train by rounds; got 0.5."),
        ({"warm_start": True}, "warm_start must be left at its default to train by rounds; got True."),
        ({"solver": "sgd", "learning_rate": "adaptive"}, "learning_rate must be a schedule that is known beforehand"),
        ({"checkpoint": "no/such/folder"}, "checkpoint must be the path of a file in a folder that exists, or None"),
        ({"checkpoint": 3}, "checkpoint must be the path of a file in a folder that exists, or None; got 3."),
        ({"backend": "dask", "client": "tcp://host"}, "client must be a dask.distributed.Client; got 'tcp://host'."),
        ({"backend": "dask"}, "client must be a dask.distributed.Client, or one must be open; got None."),
    ],
)
def test_bad_parameters(parameters, message):
    model = classifier(**{"backend": "local", **parameters})
    with pytest.raises(ValueError, match=re.escape(message)):
        model.fit(X, Y)
    assert not hasattr(model, "coefs_")


def test_an_interrupt_leaves_the_weights_of_the_latest_round(monkeypatch):
    def interrupt(verbose, display, progression):
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


def restart_all(client, cluster):
    """The scheduler forgets all tasks: rows and shards are sent and made anew."""
    client.restart(timeout=120)


def scale_up_and_down(client, cluster):
    cluster.scale(3)
    client.wait_for_workers(3, timeout=60)
    cluster.scale(1)
    cluster.scale(2)


@pytest.mark.parametrize(
    ("disturb", "arrays"),
    [
        (kill_workers, False),
        (kill_workers, True),
        (restart_workers, False),
        (restart_all, False),
        (scale_up_and_down, False),
    ],
)
def test_what_happens_to_workers_in_a_training_costs_no_bit(client, cluster, monkeypatch, disturb, arrays):
    begun, done = threading.Event(), threading.Event()
    plain = fitting._report

    def report(verbose, display, progression):
        plain(verbose, display, progression)
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
    with pytest.raises(ValueError, match="y must be a Dask collection or delayed blocks, as X is; got ndarray"):
        classifier(client=client).fit(collections()[0], Y)
    letters = np.tile([b"a", b"b"], 300)  # so that both partitions begin with the same one
    with pytest.raises(TypeError, match=r"y must have labels that are text or numbers; row 0 of partition \d has b'a'"):
        classifier(client=client).fit(collections()[0], array.from_array(letters, chunks=300))
    with pytest.raises(ValueError, match=r"X must be dense where it comes in blocks; partition \d is a csr_array"):
        classifier(client=client).fit(collections()[0].map_blocks(sparse.csr_array), collections()[1])


def test_delayed_blocks_and_a_partition_without_rows(client, expected):
    parts = [dask.delayed(values) for values in (X[:300], X[:0], X[300:])]
    labels = [dask.delayed(values) for values in (Y[:300], Y[:0], Y[300:])]
    model = classifier(client=client).fit(parts, labels)
    theirs = classifier(backend="local").fit(
        blocks.Blocks(["a", "b", "c"], lambda n: dask.compute(parts[n], labels[n]))
    )
    assert_same_weights(model, theirs)
    assert_same_weights(classifier(client=client).fit(parts[::2], labels[::2]), expected)
    with pytest.raises(
        ValueError, match=r"X must be a Dask array or frame, or an array; got .*Use dask\.array\.from_de"
    ):
        model.predict(parts[0])


def test_names_of_columns(expected):
    frames, pandas = pytest.importorskip("dask.dataframe"), pytest.importorskip("pandas")
    table = pandas.DataFrame(X, columns=list("abcde"))
    lazy, labels = (frames.from_pandas(values, npartitions=2) for values in (table, pandas.Series(Y)))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = classifier(backend="local").fit(lazy, labels, X_val=table, y_val=Y)
        found = model.predict(lazy).compute()
        assert model.score(lazy, labels) == model.score(table, Y)
    assert_same_weights(model, expected)
    assert model.feature_names_in_.tolist() == list("abcde")
    np.testing.assert_array_equal(found, expected.predict(X))
    parts = [dask.delayed(table[:300]), dask.delayed(table[300:][list("abced")])]
    with pytest.raises(ValueError, match=r"X must have the same columns in all blocks, \['a', .* in partition 1\."):
        classifier(backend="local").fit(parts, [dask.delayed(Y[:300]), dask.delayed(Y[300:])])


def test_scores_of_a_dask_collection_are_lazy(client):
    model = classifier(client=client).fit(collections()[0], (collections()[1] > 0).astype(int))
    for method in ("predict", "predict_proba", "predict_log_proba", "decision_function"):
        lazy = getattr(model, method)(collections()[0])
        assert hasattr(lazy, "compute"), method
        np.testing.assert_array_equal(lazy.compute(), getattr(model.to_local(), method)(X))


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


def test_what_watches_a_training_is_not_sent_to_workers(client):
    shown = Shown()
    shown.lock = threading.Lock()
    model = classifier(client=client, progress=shown)
    model.fit(*collections())  # what watches a training stays here


@pytest.mark.scikit_learn("1.9")
def test_a_callback_that_cannot_be_sent_to_workers(client):
    model = classifier(client=client)
    model.set_callbacks(Locked())
    with pytest.raises(ValueError, match="parameters that can be pickled for workers: it holds a lock"):
        model.fit(*collections())
    assert not hasattr(model, "coefs_")


def test_workers_of_another_version(client, monkeypatch):
    monkeypatch.setattr(connection, "__version__", "9.9")
    other = r"has fastmlp [\d.\w]+, the process that trains 9\.9\. Install the same on all\."
    with pytest.raises(ValueError, match=other):
        classifier(client=client).fit(*collections())
    monkeypatch.setattr(sources, "check_versions", lambda client: None)  # a worker that joins later
    with pytest.raises(ValueError, match=other):
        classifier(client=client).fit(*collections())


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (OSError("it has gone"), None),
        (ModuleNotFoundError("No module named 'fastmlp'"), r"tcp://there has none: No module named 'fastmlp'\."),
    ],
)
def test_a_worker_that_does_not_tell_its_versions(monkeypatch, answer, message):
    class Client:
        def run(self, function, on_error):
            return {"tcp://here": function(), "tcp://there": answer}

    if message is None:
        connection.check_versions(Client())
    else:
        with pytest.raises(ValueError, match=message):
            connection.check_versions(Client())


def test_a_scheduler_that_dies_while_versions_are_compared(client, monkeypatch):
    def gone(*arguments, **options):
        raise distributed.comm.core.CommClosedError("in <TCP>: Stream is closed")

    for question in ("run", "nthreads"):
        with monkeypatch.context() as patch:
            patch.setattr(client, question, gone)
            with pytest.raises(RuntimeError, match="client must have a scheduler that answers; it has gone before"):
                classifier(client=client, n_shards=None).fit(*collections())


def test_rows_that_cannot_be_read_are_no_lost_worker(client):
    def read():
        raise FileNotFoundError("no such file: rows.parquet")

    with pytest.raises(FileNotFoundError, match=r"rows\.parquet"):
        classifier(client=client).fit([dask.delayed(read)()], [dask.delayed(Y)])


def test_a_client_that_is_closed(cluster):
    made = distributed.Client(cluster, set_as_default=False)
    made.close()
    with pytest.raises(ValueError, match="client must be connected to a scheduler; got one that is closed"):
        classifier(client=made).fit(*collections())


def test_a_client_that_is_closed_in_a_training(cluster, monkeypatch):
    made = distributed.Client(cluster, set_as_default=False)
    plain = fitting._report

    def close(verbose, display, progression):
        plain(verbose, display, progression)
        made.close()

    monkeypatch.setattr(fitting, "_report", close)
    model = classifier(client=made)
    with pytest.raises(RuntimeError, match="client must have a scheduler with workers; it has been closed"):
        model.fit(*collections())
    assert not hasattr(model, "coefs_")


def test_nothing_is_asked_of_a_scheduler_that_is_away(monkeypatch):
    """A call to it would wait for the connection; so long a call counts as time without it."""
    now, asked = [0.0], []
    client = types.SimpleNamespace(status="running")

    def submit():
        asked.append(client.status)
        client.status = "connecting"
        now[0] += 29
        raise OSError("no answer")

    def sleep(seconds):
        now[0] += seconds

    monkeypatch.setattr(rounds_there, "time", types.SimpleNamespace(monotonic=lambda: now[0], sleep=sleep))
    with pytest.raises(RuntimeError, match=r"it has been connecting without them, .* for 30 s"):
        rounds_there.result_of(client, submit)
    assert asked == ["running"]
    assert now[0] < 31


def test_a_task_that_kills_its_workers(monkeypatch):
    def result(timeout):
        raise distributed.KilledWorker("task", None, 3)

    monkeypatch.setattr(distributed, "wait", lambda *arguments, **options: None)
    client = types.SimpleNamespace(status="running", as_current=contextlib.nullcontext)
    with pytest.raises(RuntimeError, match=r"client must have workers that live as long as a task; .* memory"):
        rounds_there.result_of(client, lambda: types.SimpleNamespace(result=result))


def test_rows_that_are_lost_with_a_scheduler_are_an_error(client, cluster, monkeypatch):
    monkeypatch.setattr(rounds_there, "PATIENCE", 1)
    held = [collection.persist(scheduler=client) for collection in collections()]  # nobody can compute them again
    plain = fitting._report

    def restart(verbose, display, progression):
        plain(verbose, display, progression)
        if len(progression.losses) == 2:
            client.restart(timeout=120)

    monkeypatch.setattr(fitting, "_report", restart)
    with pytest.raises(RuntimeError, match="without them, or without the rows that they held, for"):
        classifier(client=client).fit(*held)


def test_each_task_of_a_worker_has_a_share_of_its_threads(monkeypatch):
    seen = []

    class Worker:
        address = "tcp://here"
        state = types.SimpleNamespace(nthreads=8, executing_count=3)

    monkeypatch.setattr(distributed, "get_worker", Worker)
    monkeypatch.setattr(rounds_there, "train_round", lambda *arguments, n_threads, **others: seen.append(n_threads))
    for Worker.state.executing_count in (0, 1, 3, 9):
        rounds_there._round_here(None, None, None, 0, 0, connection.versions())
    assert seen == [8, 8, 2, 1]


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
