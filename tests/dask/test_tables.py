"""Raw tables on a cluster: one shard is the local model, shards give the bits of this process, errors name the part."""

import os
import pickle
import re
import signal
import threading
import time

import joblib
import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from fastmlp import TabularClassifier, TabularRegressor
from fastmlp.dask import DaskTabularClassifier, DaskTabularRegressor, tables
from fastmlp.dask import client as connection
from fastmlp.dask import cluster as rounds_there
from fastmlp.dask import table_parts as parts
from fastmlp.tabular import TableEncoder

dask = pytest.importorskip("dask")
array = pytest.importorskip("dask.array")
frames = pytest.importorskip("dask.dataframe")
distributed = pytest.importorskip("distributed")

SMALL = {"preset": "fast", "hidden_layer_sizes": 8, "max_epochs": 4, "random_state": 0, "n_threads": 1}
RNG = np.random.default_rng(0)
N = 240
TABLE = pd.DataFrame(
    {
        "amount": np.where(RNG.random(N) < 0.1, np.nan, RNG.lognormal(size=N)),
        "city": RNG.choice(["Oslo", "Rome", None], N),
        "shape": pd.Categorical(RNG.choice(["round", "flat"], N)),
        "since": pd.Timestamp("2020-01-01") + pd.to_timedelta(RNG.integers(0, 999, N), unit="D"),
        "one": 1,
    }
)
LABELS = pd.Series(np.where(TABLE["amount"].gt(1) | TABLE["city"].eq("Rome"), "rich", "poor"))
NUMBERS = 1e3 * TABLE["amount"].fillna(0) + 50 * TABLE["city"].eq("Rome")
WEIGHTS = RNG.random(N)


def classifier(**parameters):
    return DaskTabularClassifier(**{**SMALL, "backend": "local", "n_shards": 2, **parameters})


def regressor(**parameters):
    return DaskTabularRegressor(**{**SMALL, "backend": "local", "n_shards": 2, **parameters})


def in_dask(values, count=4):
    return frames.from_pandas(values, npartitions=count, sort=False)


def delayed_parts(*tables):
    return [dask.delayed(table) for table in tables]


def outputs(model, table=TABLE):
    return model.predict_proba(table) if hasattr(model, "predict_proba") else model.predict(table)


@pytest.fixture(scope="module")
def expected():
    """Two shards in this process."""
    return classifier().fit(TABLE, LABELS)


# --- without a cluster ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("weights", [None, WEIGHTS])
@pytest.mark.parametrize("class_weight", [None, "balanced", {"rich": 2.0}])
def test_one_shard_gives_the_bits_of_the_local_classifier(weights, class_weight):
    local = TabularClassifier(**SMALL, class_weight=class_weight).fit(TABLE, LABELS, weights)
    lazy = None if weights is None else in_dask(pd.Series(weights))
    model = classifier(n_shards=1, class_weight=class_weight).fit(in_dask(TABLE), in_dask(LABELS), lazy)
    np.testing.assert_array_equal(outputs(model), outputs(local))
    assert model.validation_score_ == local.validation_score_
    assert model.encoder_.get_feature_names_out().tolist() == local.encoder_.get_feature_names_out().tolist()
    assert model.encoder_.dropped_ == local.encoder_.dropped_ == {"one": "it is constant"}
    assert model.feature_names_in_.tolist() == list(TABLE)


@pytest.mark.parametrize("outputs_of", [lambda y: y, lambda y: pd.DataFrame({"a": y, "b": -y})])
def test_one_shard_gives_the_bits_of_the_local_regressor(outputs_of):
    y = outputs_of(NUMBERS)
    local = TabularRegressor(**SMALL).fit(TABLE, y)
    model = regressor(n_shards=1).fit(in_dask(TABLE), in_dask(y))
    np.testing.assert_array_equal(model.predict(TABLE), local.predict(TABLE))
    lazy = model.predict(in_dask(TABLE))
    np.testing.assert_array_equal(lazy.compute(), local.predict(TABLE))
    assert lazy.ndim == local.predict(TABLE).ndim


@pytest.mark.parametrize(
    "given",
    [
        pytest.param(lambda: (in_dask(TABLE), in_dask(LABELS)), id="Dask frames"),
        pytest.param(lambda: (in_dask(TABLE, 2), in_dask(LABELS, 2)), id="a partition of each shard"),
        pytest.param(lambda: (pl.from_pandas(TABLE), LABELS.to_numpy()), id="polars"),
        pytest.param(lambda: (pl.from_pandas(TABLE).to_arrow(), LABELS.tolist()), id="pyarrow"),
        pytest.param(
            lambda: (
                delayed_parts(TABLE[:120], TABLE[:0], TABLE[120:], TABLE[:0]),
                delayed_parts(LABELS[:120], LABELS[:0], LABELS[120:], LABELS[:0]),
            ),
            id="delayed blocks, some without rows",
        ),
    ],
)
def test_where_a_table_lies_is_not_part_of_the_model(expected, given):
    np.testing.assert_array_equal(outputs(classifier().fit(*given())), outputs(expected))


def test_joblib_gives_the_same_model(expected):
    with joblib.parallel_config("threading"):
        np.testing.assert_array_equal(outputs(classifier(backend="joblib").fit(TABLE, LABELS)), outputs(expected))


def test_the_number_of_shards_is_part_of_the_model(expected):
    assert len(expected.members_) == 4
    assert sum(member.weight for member in expected.members_) == pytest.approx(1)
    assert {line["shard"] for line in expected.history_} == {0, 1}
    assert len(expected.validation_targets_) == len(expected.validation_predictions_) == 48
    assert not np.array_equal(outputs(classifier(n_shards=3).fit(TABLE, LABELS)), outputs(expected))
    for n_members, of_shards in ((1, 2), (2, 4), (5, 6)):
        assert len(classifier(n_members=n_members).fit(TABLE, LABELS).members_) == of_shards


def test_shards_learn():
    settings = {"hidden_layer_sizes": 32, "max_epochs": 16, "importances": True}
    model = classifier(**settings).fit(in_dask(TABLE), in_dask(LABELS))
    assert model.score(in_dask(TABLE), in_dask(LABELS)) > 0.9
    assert model.score(in_dask(TABLE), in_dask(LABELS)) == model.score(TABLE, LABELS)
    ranks = dict(zip(TABLE, model.feature_importances_))
    assert min(ranks["amount"], ranks["city"]) > ranks["one"] == 0
    assert regressor(hidden_layer_sizes=32, max_epochs=16).fit(TABLE, NUMBERS).score(TABLE, NUMBERS) > 0.8


def test_shards_count_by_the_weight_of_their_rows():
    weights = np.repeat([3.0, 1.0], N // 2)
    model = classifier().fit(TABLE, LABELS, weights)
    assert [member.weight for member in model.members_] == pytest.approx([0.375, 0.375, 0.125, 0.125])
    weights[N // 2 :] = 0
    alone = classifier().fit(TABLE, LABELS, weights)
    assert len(alone.members_) == 2
    assert {line["shard"] for line in alone.history_} == {0}


@pytest.mark.parametrize("class_weight", [None, "balanced", {"a": 2.0, "c": 5.0}])
def test_classes_that_a_shard_lacks(class_weight):
    labels = np.repeat(["a", "b", "c"], N // 3)
    rng = np.random.default_rng(1)
    X = np.column_stack([rng.normal(size=N) + 3 * np.repeat([0, 1, 2], N // 3), rng.normal(size=N)])
    model = classifier(n_shards=4, max_epochs=16, class_weight=class_weight).fit(X, labels)
    assert model.classes_.tolist() == ["a", "b", "c"]
    assert model.predict_proba(X).shape == (N, 3)
    by_loss = classifier(n_shards=4, metric="log_loss", class_weight=class_weight).fit(X, labels)
    assert by_loss.validation_score_ < 0
    assert set(model.predict(X)) >= ({"a", "b", "c"} if class_weight in (None, "balanced") else {"a", "c"})


def test_targets_have_one_scale_in_all_shards():
    y = np.repeat([0.0, 1e6], N // 2) + np.arange(N)
    model = regressor().fit(TABLE, y)
    np.testing.assert_allclose(model._center, y.mean())
    np.testing.assert_allclose(model._scale, y.std())
    assert (model._low, model._high) == (y.min(), y.max())


def test_categories_of_partitions_are_joined():
    first = TABLE[["amount"]].assign(kind=pd.Categorical(RNG.choice(["a", "b"], N)))
    second = TABLE[["amount"]].assign(kind=pd.Categorical(RNG.choice(["b", "c"], N)))
    nothing = TABLE[["amount"]].assign(kind=pd.Series([None] * N, dtype=object))
    model = classifier().fit(delayed_parts(first, second, nothing), delayed_parts(LABELS, LABELS, LABELS))
    names = model.encoder_.get_feature_names_out().tolist()
    assert names[-4:] == ["kind_a", "kind_b", "kind_c", "kind_missing"]


def test_the_encoding_is_chosen_by_a_sample_of_all_partitions(monkeypatch):
    monkeypatch.setattr(tables, "SAMPLE_ROWS", 150)
    table = TABLE.assign(row=np.arange(N) * 1.0)
    models = [
        classifier(backend="local").fit(in_dask(table, count), in_dask(LABELS, count)) for count in (2, 4)
    ]  # a row is drawn by its number, in whatever partition it is
    np.testing.assert_array_equal(outputs(models[0], table), outputs(models[1], table))
    model = models[0]
    assert model.encoder_.dropped_["row"] == "it is an id: it numbers the rows"
    everything = TableEncoder().fit(table)
    assert model.encoder_._encodings[0].center != everything._encodings[0].center
    other = classifier(random_state=1).fit(table, LABELS)
    assert other.encoder_._encodings[0].center != model.encoder_._encodings[0].center


def test_rows_of_a_sample_are_drawn_evenly():
    drawn = parts.drawn_rows([30, 0, 70], 40, np.random.RandomState(0))
    assert [len(rows) for rows in drawn][1] == 0
    assert sum(map(len, drawn)) == 40
    assert all((np.diff(rows) > 0).all() for rows in drawn)
    assert max(drawn[0]) < 30
    assert max(drawn[2]) < 70
    assert [rows.tolist() for rows in parts.drawn_rows([2, 1], 3, None)] == [[0, 1], [0]]


def test_parameters_clones_and_pickles(expected):
    class Client:
        def __deepcopy__(self, memo):
            raise TypeError("it holds a socket")

    model = classifier(client=Client())
    assert clone(model).client is model.client
    assert set(TabularClassifier().get_params()) < set(model.get_params())
    assert set(model.get_params()) - set(TabularClassifier().get_params()) == {"client", "backend", "n_shards"}
    assert pickle.loads(pickle.dumps(model)).client is None
    local = pickle.loads(pickle.dumps(expected)).to_local()
    assert type(local) is TabularClassifier
    np.testing.assert_array_equal(local.predict_proba(TABLE), outputs(expected))
    assert "Parts of consecutive rows" in DaskTabularClassifier.__doc__
    assert "class_weight" in DaskTabularClassifier.__doc__
    assert "{{" not in DaskTabularRegressor.__doc__


def test_a_model_that_is_not_fitted():
    for model in (classifier(), regressor()):
        for rows in (TABLE, in_dask(TABLE)):
            with pytest.raises(NotFittedError):
                model.predict(rows)
    with pytest.raises(NotFittedError):
        classifier().predict_proba(in_dask(TABLE))


def test_shards_of_a_row():
    settings = {"n_shards": 50, "max_epochs": 2}
    model = classifier(**settings).fit(TABLE[:9], LABELS[:9])
    assert len(model.members_) == 2 * 9
    assert np.isnan(model.validation_score_)
    assert np.isfinite(model.predict_proba(TABLE)).all()
    assert np.isfinite(regressor(**settings).fit(TABLE[:9], NUMBERS[:9]).predict(TABLE)).all()


def test_predictions_of_dask_collections_are_lazy(expected):
    for method in ("predict", "predict_proba"):
        lazy = getattr(expected, method)(in_dask(TABLE))
        here = getattr(expected, method)(TABLE)
        assert lazy.dtype == here.dtype
        np.testing.assert_array_equal(lazy.compute(), here)
    empty = in_dask(TABLE)[in_dask(TABLE)["amount"] > 1e9]
    assert expected.predict_proba(empty).compute().shape == (0, 2)
    X = RNG.normal(size=(N, 3))
    model = classifier().fit(array.from_array(X, chunks=(60, 2)), array.from_array(LABELS.to_numpy(), chunks=60))
    lazy = model.predict_proba(array.from_array(X, chunks=(60, 2)))
    assert lazy.shape == (N, 2)
    np.testing.assert_array_equal(lazy.compute(), model.predict_proba(X))
    with pytest.raises(
        ValueError, match=r"X must be a Dask array or frame, or an array; got .*Use dask\.array\.from_de"
    ):
        model.predict(dask.delayed(X))


class Shown:
    """A display of progress that notes what it is told; it holds a lock, as a bar does."""

    def __init__(self):
        self.told, self.lock = [], threading.Lock()

    def __call__(self, *sizes):
        self.told.append(sizes)
        return self

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.told.append("end")

    def update(self, shards, rows, loss):
        self.told.append(shards)


def test_progress_counts_shards():
    shown = Shown()
    classifier(progress=shown).fit(TABLE, LABELS)
    assert shown.told == [(2, N), 1, 2, "end"]


def test_lines_about_what_was_done(capsys):
    classifier(verbose=True).fit(TABLE, LABELS)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "Column 'one' is dropped: it is constant."
    assert re.match(r"\d networks trained on 2 shards, 4 of them averaged; validation score 0\.\d+\.", lines[1])
    assert len(lines) == 2


def changed(**columns):
    return TABLE[120:].assign(**columns)


HALVES = LABELS[:120], LABELS[120:]


@pytest.mark.parametrize(
    ("second", "labels", "message"),
    [
        (
            TABLE[120:].rename(columns={"city": "town"}),
            HALVES,
            "X must have the columns of partition 0 in every partition",
        ),
        (
            changed(amount="much"),
            HALVES,
            "Column 'amount' must hold numbers in every part of the table, as in partition 0",
        ),
        (changed(amount=np.inf), HALVES, "column 'amount' must be finite or missing; got inf in row 0"),
        (TABLE[120:], (HALVES[0], LABELS[121:]), "y must have 120 rows, as X has; got shape (119,), in partition 1."),
        (TABLE[120:], (HALVES[0], [None] * 120), "got none in row 0; drop such rows, in partition 1."),
        (
            TABLE[120:],
            (HALVES[0], np.ones(120)),
            "y must hold texts of one shape in every partition, as in partition 0",
        ),
        (TABLE[120:], (HALVES[0], [b"a"] * 120), "in partition 1."),
        (TABLE[120:], (["a"] * 120, ["a"] * 120), "y must have two classes or more; got 1 class, 'a', in all rows."),
    ],
)
def test_a_part_that_is_wrong(second, labels, message):
    model = classifier()
    with pytest.raises((ValueError, TypeError), match=re.escape(message)):
        model.fit(delayed_parts(TABLE[:120], second), delayed_parts(*labels))
    assert not hasattr(model, "encoder_")


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"backend": "spark"}, "backend must be one of 'dask', 'joblib', 'local'; got 'spark'."),
        ({"n_shards": 0}, "n_shards must be an int in the range [1, inf); got 0."),
        ({"max_time": 3.0}, "max_time must be None to train on shards"),
        ({"hidden_layer_sizes": ()}, "hidden_layer_sizes must be > 0, got []."),
        ({"class_weight": {"rich": 0.0, "poor": 0.0}}, "class_weight and sample_weight must leave a row that counts"),
        ({"class_weight": {"rick": 2.0}}, "are not in class_weight"),
        ({"validation": (array.ones((2, 2)), array.ones(2))}, "validation must hold tables in memory"),
        ({"backend": "dask"}, "client must be a dask.distributed.Client, or one must be open; got None."),
    ],
)
def test_bad_parameters(parameters, message):
    model = classifier(**parameters)
    with pytest.raises(ValueError, match=re.escape(message)):
        model.fit(TABLE, LABELS)
    assert not hasattr(model, "encoder_")


@pytest.mark.parametrize(
    ("X", "y", "weights", "message"),
    [
        (TABLE, None, None, "requires y to be passed, but the target y is None"),
        (TABLE, LABELS[1:], None, "y must have 240 rows, as X has; got shape (239,)."),
        (TABLE, LABELS, WEIGHTS[1:], "sample_weight must have 240 rows, as X has; got shape (239,)."),
        (TABLE, LABELS, -WEIGHTS, "sample_weight must hold no negative numbers and a positive one, in rows 0 to 119."),
        (
            TABLE,
            LABELS,
            0 * WEIGHTS,
            "sample_weight must hold a number that is not zero; all are zero in all partitions.",
        ),
        (TABLE[:0], LABELS[:0], None, "X must have a row at least; got shape (0, 5)."),
        (delayed_parts(TABLE[:0]), delayed_parts(LABELS[:0]), None, "all of its partitions are empty"),
        (TABLE[["one"]], LABELS, None, "X must have a column that tells its rows apart"),
    ],
)
def test_bad_tables(X, y, weights, message):
    model = classifier()
    with pytest.raises(ValueError, match=re.escape(message)):
        model.fit(X, y, weights)
    assert not hasattr(model, "encoder_")


# --- on a cluster -----------------------------------------------------------------------------------------------------


def test_a_cluster_gives_the_bits_of_this_process(client, expected):
    shown = Shown()
    model = classifier(backend="dask", client=client, n_shards=None, progress=shown)
    model.fit(in_dask(TABLE), in_dask(LABELS))
    assert (shown.told[0], shown.told[-2:]) == ((2, N), [2, "end"])
    np.testing.assert_array_equal(outputs(model), outputs(expected))
    assert model.validation_score_ == expected.validation_score_
    np.testing.assert_array_equal(model.predict(in_dask(TABLE)).compute(), expected.predict(TABLE))
    sent = classifier(backend="dask", client=client).fit(TABLE, LABELS)
    np.testing.assert_array_equal(outputs(sent), outputs(expected))
    with pytest.raises(
        ValueError, match=re.escape("got inf in row 0; replace it by NaN or by a bound, in partition 1.")
    ):
        model.fit(delayed_parts(TABLE[:120], changed(amount=np.inf)), delayed_parts(*HALVES))


def test_workers_of_another_version(client, monkeypatch):
    monkeypatch.setattr(connection, "__version__", "9.9")
    with pytest.raises(ValueError, match=r"has fastmlp [\d.\w]+, the process that trains 9\.9\. Install the same"):
        classifier(backend="dask", client=client).fit(TABLE, LABELS)


def test_a_metric_that_cannot_be_sent_to_workers(client):
    lock = threading.Lock()
    model = classifier(backend="dask", client=client, metric=lambda *given: 0.0 * lock.locked())
    with pytest.raises(ValueError, match="The estimator must have parameters that can be pickled for workers"):
        model.fit(TABLE, LABELS)
    assert not hasattr(model, "encoder_")


def test_a_worker_that_is_killed_costs_no_bit(client, tmp_path):
    go = tmp_path / "go"

    def closeness(estimator, X, y, sample_weight=None):  # is computed in a training, and waits there for the kill
        if not go.exists():
            (tmp_path / f"pid {os.getpid()}").touch()
        while not go.exists():
            time.sleep(0.05)
        return -float(np.abs(estimator.predict(X) - y).mean())

    def kill():
        while not (busy := list(tmp_path.glob("pid *"))):
            time.sleep(0.05)
        os.kill(int(busy[0].name.split()[1]), signal.SIGKILL)
        go.touch()

    thread = threading.Thread(target=kill)
    thread.start()
    settings = {"n_shards": 3, "metric": closeness}
    model = regressor(backend="dask", client=client, **settings).fit(in_dask(TABLE), in_dask(NUMBERS))
    thread.join()
    here = regressor(**settings).fit(in_dask(TABLE), in_dask(NUMBERS))
    np.testing.assert_array_equal(model.predict(TABLE), here.predict(TABLE))


def test_an_interrupt_ends_the_work_on_the_workers(client, tmp_path, keyboard):
    marks = tmp_path / "marks"

    def noted(estimator, X, y, sample_weight=None):  # after each epoch
        with open(marks, "a") as file:
            file.write("x")
        time.sleep(0.05)
        return 0.0

    def interrupt():
        while not marks.exists():
            time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGINT)

    model = classifier(backend="dask", client=client, max_epochs=1_000_000, metric=noted)
    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        model.fit(in_dask(TABLE), in_dask(LABELS))
    thread.join()
    assert not hasattr(model, "encoder_")
    sizes = [-1, marks.stat().st_size]
    deadline = time.monotonic() + 60
    while sizes[-1] != sizes[-2] and time.monotonic() < deadline:
        time.sleep(1)
        sizes.append(marks.stat().st_size)
    assert sizes[-1] == sizes[-2]


def test_a_scheduler_that_dies_is_an_error(monkeypatch, tmp_path):
    monkeypatch.setattr(rounds_there, "PATIENCE", 1)
    begun = tmp_path / "begun"

    def noted(estimator, X, y, sample_weight=None):
        begun.touch()
        time.sleep(0.05)
        return 0.0

    with (
        distributed.LocalCluster(
            n_workers=1, threads_per_worker=1, processes=False, dashboard_address=None, silence_logs=50
        ) as own,
        distributed.Client(own, set_as_default=False) as made,
    ):

        def die():
            while not begun.exists():
                time.sleep(0.05)
            own.close(timeout=5)

        thread = threading.Thread(target=die)
        thread.start()
        model = classifier(backend="dask", client=made, max_epochs=1_000_000, metric=noted)
        began = time.monotonic()
        with pytest.raises(RuntimeError, match="client must have a scheduler"):
            model.fit(in_dask(TABLE), in_dask(LABELS))
        assert time.monotonic() - began < 60
        assert not hasattr(model, "encoder_")
        thread.join()
