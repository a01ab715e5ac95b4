"""Fits on blocks: as on arrays, and what is wrong with a block is said before any attribute changes."""

import pickle
import re
import warnings

import numpy as np
import pytest
from problems import assert_same_weights
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.utils.validation import check_is_fitted

from fastmlp import MLPClassifier, MLPRegressor, blocks, streaming
from fastmlp.blocks import Blocks
from fastmlp.estimators import block_fits

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(700, 6))
Y = (X[:, 0] + X[:, 1] > 0).astype(int) + (X[:, 2] > 1)
NAMES = np.array(["one", "three", "two"])[Y]
WEIGHTS = RANDOM.uniform(0.2, 2, 700)
T = X[:, :2] @ [[1.0, 2.0], [0.5, -1.0]]

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def classifier(**parameters):
    return MLPClassifier(
        **{"hidden_layer_sizes": (16,), "max_iter": 4, "random_state": 0, "n_threads": 1, **parameters}
    )


def regressor(**parameters):
    return MLPRegressor(**{"hidden_layer_sizes": (16,), "max_iter": 4, "random_state": 0, "n_threads": 1, **parameters})


def in_blocks(X=X, y=Y, weights=None, rows=97):
    return blocks.from_arrays(X, y, weights, block_rows=rows)


@pytest.mark.filterwarnings("ignore:Stochastic Optimizer")
@pytest.mark.parametrize(
    ("estimator", "y", "weights"),
    [
        (classifier(), Y, None),
        (classifier(), NAMES, WEIGHTS),
        (classifier(dtype="float32", solver="sgd", learning_rate="invscaling"), Y, None),
        (classifier(class_weight="balanced"), Y, None),
        (classifier(class_weight="balanced"), Y, WEIGHTS),
        (classifier(), Y > 0, None),
        (classifier(), np.eye(3, dtype=int)[Y], None),
        (classifier(one_hot=True), np.eye(3, dtype=int)[Y], None),
        (classifier(normalization="batch", activation="prelu"), Y, None),
        (classifier(learning_rate="one_cycle"), Y, None),
        (regressor(), T, None),
        (regressor(), T[:, 0], WEIGHTS),
    ],
)
def test_blocks_in_their_order_train_as_arrays_do(estimator, y, weights):
    theirs = pickle.loads(pickle.dumps(estimator)).set_params(shuffle=False).fit(X, y, weights)
    ours = pickle.loads(pickle.dumps(estimator)).set_params(shuffle=False).fit(in_blocks(X, y, weights))
    for a, b in zip(ours.coefs_ + ours.intercepts_, theirs.coefs_ + theirs.intercepts_, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12 if a.dtype == np.float64 else 1e-5, atol=1e-12)
    assert ours.loss_curve_ == pytest.approx(theirs.loss_curve_, rel=1e-12 if a.dtype == np.float64 else 1e-5)
    assert ours.n_features_in_ == 6
    assert ours.t_ == theirs.t_
    np.testing.assert_array_equal(ours.predict(X), theirs.predict(X))


@pytest.mark.filterwarnings("ignore:Stochastic Optimizer")
def test_data_sorted_by_class_reach_the_accuracy_of_shuffled_ones():
    order = np.argsort(Y)
    parameters = {"max_iter": 60, "learning_rate_init": 0.01}
    shuffled = classifier(**parameters).fit(X, Y).score(X, Y)
    sorted_ = classifier(**parameters).fit(in_blocks(X[order], Y[order], rows=20).with_window(300)).score(X, Y)
    assert sorted_ > shuffled - 0.02


@pytest.mark.filterwarnings("ignore:Stochastic Optimizer")
def test_the_same_seed_gives_the_same_model_and_another_seed_another():
    one, same, other = (classifier(random_state=seed).fit(in_blocks().with_window(150)) for seed in (1, 1, 2))
    assert_same_weights(one, same)
    assert not np.array_equal(one.coefs_[0], other.coefs_[0])


@pytest.mark.filterwarnings("ignore:Stochastic Optimizer")
def test_partial_fit_and_warm_start_go_on():
    parameters = {"shuffle": False}
    ours, theirs = classifier(**parameters), classifier(**parameters)
    for _ in range(2):
        ours.partial_fit(in_blocks(), classes=[0, 1, 2], n_epochs=2)
        theirs.partial_fit(X, Y, classes=[0, 1, 2], n_epochs=2)
    assert_same_weights(ours, theirs)
    for model, data in ((ours, (in_blocks(),)), (theirs, (X, Y))):
        model.set_params(warm_start=True).fit(*data)
    assert_same_weights(ours, theirs)


@pytest.mark.filterwarnings("ignore:Stochastic Optimizer")
def test_warm_start_on_blocks_in_which_classes_are_missing(monkeypatch):
    monkeypatch.setattr(streaming, "GROUP_BYTES", 1)  # each block is checked apart
    order = np.argsort(Y)
    model = classifier(warm_start=True)
    for _ in range(2):
        model.fit(in_blocks(X[order], Y[order], rows=20).with_window(200))
    assert model.n_iter_ == 4
    assert list(model.classes_) == [0, 1, 2]


@pytest.mark.filterwarnings("ignore:Stochastic Optimizer")
def test_early_stopping_by_validation_rows(tmp_path):
    for n in range(3):
        np.save(tmp_path / f"X_{n}.npy", X[n::3])
        np.save(tmp_path / f"y_{n}.npy", Y[n::3])
    model = classifier(early_stopping=True, max_iter=20).fit(tmp_path, X_val=X[:50], y_val=Y[:50])
    assert len(model.validation_scores_) == model.n_iter_
    assert model.score(X, Y) > 0.5


def test_a_memory_map_is_an_array(tmp_path):
    np.save(tmp_path / "X.npy", X)
    mapped = np.load(tmp_path / "X.npy", mmap_mode="r")
    assert_same_weights(*(classifier(max_iter=1).fit(rows, Y) for rows in (X, mapped)))


@pytest.mark.filterwarnings("ignore:Stochastic Optimizer")
@pytest.mark.parametrize(("dtype", "order", "least"), [("f8", "C", 8), ("f4", "C", 4), ("u1", "C", 8), ("f4", "F", 8)])
def test_a_memory_map_that_memory_cannot_hold_comes_in_blocks(tmp_path, monkeypatch, dtype, order, least):
    """Its pages, or a copy in another dtype or order, which is never made."""
    np.save(tmp_path / "X.npy", np.asarray(10 * X, dtype, order))
    mapped = np.load(tmp_path / "X.npy", mmap_mode="r")
    monkeypatch.setattr(blocks, "free_memory", lambda: X.size * least)
    assert blocks.as_blocks(mapped, Y) is None
    monkeypatch.setattr(blocks, "free_memory", lambda: X.size * least - 1)
    assert blocks.as_blocks(np.array(mapped), Y) is None
    same = classifier().fit(blocks.from_arrays(mapped, Y, WEIGHTS).with_window(200))
    monkeypatch.setattr(block_fits, "default_window", lambda *sizes: 200)
    assert_same_weights(classifier().fit(mapped, Y, WEIGHTS), same)


def test_a_file_that_ends_early_and_a_folder_without_files(tmp_path):
    model = classifier(max_iter=1).fit(X, Y)
    before = dict(vars(model))
    with pytest.raises(ValueError, match="X must be a folder with files"):
        model.fit(tmp_path)
    np.save(tmp_path / "X_0.npy", X)
    np.save(tmp_path / "y_0.npy", Y)
    whole = (tmp_path / "X_0.npy").read_bytes()
    (tmp_path / "X_0.npy").write_bytes(whole[:-100])
    with pytest.raises(
        ValueError, match=r"X could not be read in X_0\.npy, rows 688 to 699: X_0\.npy ends in row 697 of 700"
    ):
        model.fit(tmp_path)
    assert all(vars(model)[name] is value for name, value in before.items())


def parts(changes):
    """Blocks of 50 rows, some of which are something else."""

    def read(position):
        rows = slice(50 * position, 50 * position + 50)
        return changes.get(position, (X[rows], Y[rows]))

    return Blocks([f"part {n}" for n in range(14)], read)


@pytest.mark.parametrize("shape", [(3,), (3, 2)])
def test_labels_are_looked_up(shape):
    classes, values = np.array([2, 5, 9]), np.arange(np.prod(shape)).reshape(shape)
    table = block_fits.LabelTable(classes, np.array([9, 2, 5]), values)
    assert table.complete
    np.testing.assert_array_equal(table.of(np.array([5, 5, 9, 2])), values[[2, 2, 0, 1]])
    for new in (0, 3, 10):
        assert table.of(np.array([5, new])) is None
    assert not block_fits.LabelTable(classes, np.array([9, 2]), values[:2]).complete


def with_nan():
    bad = X[:50].copy()
    bad[7, 2] = np.nan
    return bad, Y[:50]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({3: with_nan()}, "X must be finite; row 7 of part 3 is not. Fill in or leave out such rows."),
        ({5: (X[:50, :4], Y[:50])}, "X must have 6 columns in every block; got 4 in part 5."),
        ({2: (X[:50], np.eye(3)[Y[:50]])}, "y must have rows of shape () in every block; got (3,) in part 2."),
        ({2: (X[:50], NAMES[:50])}, "y must have one kind of dtype in all blocks, int64; got <U5 in part 2."),
        ({9: (X[:50], Y[:50], WEIGHTS[:50])}, "sample_weight must be there in every block or in none; part 9 differs"),
        ({13: (X[:50].astype(str), Y[:50])}, None),
        ({4: (X[:0], Y[:0]), 13: (X[:0], Y[:0])}, None),
        (
            {
                n: (X[50 * n :][:50], np.array([*"abcdefghij", None], object)[Y[50 * n :][:50] - (n == 6)])
                for n in range(14)
            },
            "y must have labels of one type; row 0 of part 6 has",
        ),
        ({n: (X[:50], Y[:50], np.zeros(50)) for n in range(14)}, "sample_weight must contain at least one non-zero"),
    ],
)
def test_a_wrong_block_is_named_and_nothing_has_changed(changes, message):
    fresh, fitted = classifier(), classifier(max_iter=1).fit(X, Y)
    before = dict(vars(fitted))
    for model in (fresh, fitted):
        if message is None:
            model.fit(parts(changes))
            continue
        with pytest.raises(ValueError, match=re.escape(message)):
            model.fit(parts(changes))
    if message is not None:
        with pytest.raises(NotFittedError):
            check_is_fitted(fresh)
        assert vars(fitted).keys() == before.keys()
        assert all(vars(fitted)[name] is value for name, value in before.items())


@pytest.mark.parametrize(
    ("later", "message"),
    [
        (lambda: with_nan(), "X must be finite; row 7 of part 3 is not."),
        (
            lambda: (X[:50], np.where(np.arange(50) == 7, 5, Y[:50])),
            "y must have the labels of the first pass in every later one, [0, 1, 2]; row 7 of part 3 has 5.",
        ),
        (lambda: (X[:20], Y[:20]), "X must have the same rows in every pass; got 670, and 700 in the first one."),
        (lambda: (X[:50], Y[:49]), "y must have 50 rows in part 3, as X has; got shape (49,)."),
    ],
)
def test_blocks_that_change_after_the_first_pass(later, message):
    passes = [0] * 14

    def read(position):
        passes[position] += 1
        rows = slice(50 * position, 50 * position + 50)
        return later() if position == 3 and passes[3] > 2 else (X[rows], Y[rows])

    model = classifier()
    with pytest.raises(ValueError, match=re.escape(message)):
        model.fit(Blocks([f"part {n}" for n in range(14)], read))
    with pytest.raises(NotFittedError):
        check_is_fitted(model)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (
            classifier(solver="lbfgs"),
            "solver must be one that takes steps, such as 'adam', where X is blocks; got 'lbfgs'.",
        ),
        (
            classifier(initializer="data_driven"),
            "initializer must be one that looks at no rows where X is blocks, such as 'he_normal'; got 'data_driven'.",
        ),
        (classifier(early_stopping=True), "early_stopping=True needs X_val and y_val where X is blocks"),
        (classifier(metrics="accuracy"), "metrics must be None where X is blocks: it looks at all rows at once."),
        (
            classifier(augmentation="mixup"),
            "augmentation must be None where X is blocks: it looks at all rows at once.",
        ),
        (classifier(n_estimators=2), "n_estimators must be 1 where X is blocks; got 2. Fit members one by one."),
    ],
)
def test_what_needs_all_rows_at_once_is_refused(model, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        model.fit(in_blocks())


def test_labels_unknown_to_partial_fit():
    with pytest.raises(ValueError, match="classes"):
        classifier().partial_fit(in_blocks(), classes=[0, 1])


def test_blocks_without_rows():
    empty = Blocks(["a", "b"], lambda position: (np.zeros((0, 3)), np.zeros(0, int)))
    with pytest.raises(ValueError, match="X must have at least one row; all of its blocks are empty"):
        classifier().fit(empty)


# --- names of columns -------------------------------------------------------------------------------------------------


def _frame_blocks(table):
    return Blocks(["a", "b"], lambda n: (table[350 * n : 350 * (n + 1)], Y[350 * n : 350 * (n + 1)]))


def _arrow(table):
    pyarrow = pytest.importorskip("pyarrow")
    columns = {**{name: table[name].to_numpy() for name in table}, "y": Y}
    return blocks.from_arrow(pyarrow.table(columns), "y")


def _dask_frame(table):
    frames, pandas = pytest.importorskip("dask.dataframe"), pytest.importorskip("pandas")
    return blocks.from_dask(*(frames.from_pandas(values, npartitions=2) for values in (table, pandas.Series(Y))))


@pytest.mark.parametrize("source", [_frame_blocks, _arrow, _dask_frame])
def test_blocks_of_frames_have_names_of_columns(source):
    pandas = pytest.importorskip("pandas")
    table = pandas.DataFrame(X, columns=list("abcdef"))
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        warnings.simplefilter("ignore", ConvergenceWarning)
        model = classifier().fit(source(table), X_val=table, y_val=Y)
        assert model.feature_names_in_.tolist() == list("abcdef")
        model.partial_fit(source(table).with_window(350))
        assert model.feature_names_in_.tolist() == list("abcdef")
        model.predict(table)
    with pytest.raises(ValueError, match=r"X must have the columns of the first fit, \['a', .*; got \['f', 'a'"):
        model.partial_fit(source(table[list("fabcde")]))
    assert model.feature_names_in_.tolist() == list("abcdef")
    assert not hasattr(model.fit(in_blocks()), "feature_names_in_")


def test_a_block_with_other_columns_than_the_first_one():
    pandas = pytest.importorskip("pandas")
    table = pandas.DataFrame(X, columns=list("abcdef"))
    parts = [table[:350], table[350:].rename(columns={"a": "z"})]
    source = Blocks(["one", "two"], lambda n: (parts[n], Y[350 * n : 350 * (n + 1)]))
    with pytest.raises(ValueError, match=r"the same columns in all blocks, \['a', .*; got \['z', .* in two\."):
        classifier().fit(source)
    numbered = Blocks(["one"], lambda n: (pandas.DataFrame(X), Y))
    assert not hasattr(classifier().fit(numbered), "feature_names_in_")


def test_labels_that_are_bytes():
    with pytest.raises(TypeError, match="y must have labels that are text or numbers; row 0 of rows 0 to 96 has b'a'"):
        classifier().fit(in_blocks(y=np.array([b"a", b"b"])[Y % 2]))
