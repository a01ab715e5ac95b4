"""Sparse input: products against the reference and the dense network, fits against dense fits and scikit-learn's."""

import numpy as np
import pytest
from problems import Problem, over_dtypes, over_optimizers
from problems import assert_close as assert_same
from scipy import sparse
from sklearn.neural_network import MLPClassifier as TheirClassifier
from sklearn.neural_network import MLPRegressor as TheirRegressor

from fastmlp import MLPClassifier, MLPRegressor
from fastmlp.core.network import Network
from fastmlp.normalizations import BatchNormalization, LayerNormalization

pytestmark = [
    pytest.mark.width,
    pytest.mark.threads,
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
]


def make(rows, features, density=0.15, dtype=np.float64, seed=0):
    """CSR rows with an empty row, an empty column and an explicit zero, wherever there is room for them."""
    generator = np.random.default_rng(seed)
    X = generator.normal(size=(rows, features)) * (generator.random((rows, features)) < density)
    X[rows // 2] = 0
    if features > 1:
        X[:, features // 2] = 0
    X = sparse.csr_array(X.astype(dtype))
    if X.nnz:
        X.data[X.nnz // 2] = 0
    return X


# --- network ----------------------------------------------------------------------------------------------------------


def problem(units, rows, batch_size, dtype, **components):
    """What to train on sparse rows."""
    return Problem(
        units, rows, batch_size, dtype, X=make(rows, units[0], dtype=dtype), **{"activation": "tanh", **components}
    )


SHAPES = {
    "linear": ((30, 2), 17, 4),
    "one of everything": ((1, 1, 2), 5, 1),
    "one feature": ((1, 9, 3), 30, 7),
    "one row": ((7, 5, 2), 1, 1),
    "batch of one row": ((7, 33, 2), 20, 1),
    "whole data set": ((17, 33, 2), 40, 40),
    "several chunks": ((17, 33, 2), 1300, 1300),
    "chunks in batches": ((17, 33, 5, 2), 1300, 600),
    "tile": ((8, 48, 16), 64, 8),
    "tile and one": ((9, 49, 17), 65, 9),
    "primes": ((101, 53, 11), 97, 31),
    "wide": ((1100, 100, 3), 60, 20),
}


@over_dtypes
@pytest.mark.parametrize("name", SHAPES)
def test_network_against_the_reference(name, dtype):
    problem(*SHAPES[name], dtype, weighted=True).check()


@over_optimizers
def test_optimizers(optimizer):
    problem((40, 19, 3), 50, 16, np.float64, optimizer=optimizer).check()


SPECIAL_PASSES = {  # what concerns the layer above the inputs, or the whole gradient
    "layer normalization": {"normalization": LayerNormalization(), "optimizer": "momentum"},
    "batch normalization": {"normalization": BatchNormalization(), "optimizer": "momentum"},
    "learned slopes": {"activation": "prelu"},
    "dropout": {"dropout": [0.0, 0.4]},
    "clipping": {"settings": {"clip_norm": 0.1, "clip_value": 0.05}},
    "penalties": {"settings": {"l1": 0.2, "max_norm": 0.8}},
}


@over_dtypes
@pytest.mark.parametrize("name", ["chunks in batches", "primes"])
@pytest.mark.parametrize("special", SPECIAL_PASSES)
def test_special_passes(special, name, dtype):
    units, rows, batch_size = SHAPES[name]
    problem((units[0], 33, units[-1]), rows, batch_size, dtype, **SPECIAL_PASSES[special]).check(n_threads=(1, 2, 3))


@over_dtypes
@pytest.mark.parametrize("name", ["wide", "chunks in batches", "several chunks", "linear", "one feature"])
def test_same_bits_for_any_team(name, dtype):
    problem(*SHAPES[name], dtype).check(n_threads=(1, 2, 3, 5))


@over_dtypes
@pytest.mark.parametrize("units", [1, 2, 3, 5, 8, 9, 10, 12, 16, 17, 24, 33, 48, 49])
@pytest.mark.parametrize("features", [1, 8, 30, 1100])
def test_bits_are_those_of_dense_rows(features, units, dtype):
    """But where the dense layer is narrow, whose sums run in another order: there they agree to rounding."""
    rows = make(40, features, dtype=dtype)
    components = {"activation": "tanh", "optimizer": "gradient_descent", "weighted": True}
    apart = Problem((features, units, 3), 40, 16, dtype, X=rows, **components)
    dense = Problem((features, units, 3), 40, 16, dtype, X=rows.toarray(), **components)
    if dense.network().layout.narrow[0]:
        assert_same(apart.by_network(), dense.by_network(), dtype)
    else:
        for one, other in zip(apart.by_network(), dense.by_network(), strict=True):
            np.testing.assert_array_equal(one, other)


def test_no_buffer_has_the_size_of_dense_rows():
    network = Network((3000, 4, 2), dtype=np.float64, activation="tanh", loss="log_loss", optimizer="adam", sparse=True)
    with network.session(make(600, 3000, 0.01), np.zeros(600, np.int64), batch_size=500, n_threads=2) as session:
        buffers = session._keepalive[1]
        assert max(field.size for field in (*buffers[:-1], *buffers.rows)) < 50 * 3001


def test_an_interrupted_batch_leaves_nothing_behind():
    """An interrupt between the chunks of a batch: the next epoch begins from a gradient of zeros."""
    chunks, settings = problem((30, 9, 3), 1500, 1500, np.float64), {"learning_rate": 0.01, "alpha": 0.1}
    order, weights = chunks.orders[0], []
    for interrupted in (False, True):
        network = chunks.network()
        start = network.weights()
        with chunks.session(network) as session:
            if interrupted:

                def interrupt(rows):
                    raise KeyboardInterrupt

                session._row_operations = 1e12  # a return to Python after each chunk
                with pytest.raises(KeyboardInterrupt):
                    session.epoch(order, progress=interrupt, **settings)
                network.set_weights(*start)
            session.epoch(order, **settings)
        weights.append(network.weights()[0][0])
    np.testing.assert_array_equal(*weights)


# --- estimators -------------------------------------------------------------------------------------------------------

X = make(300, 40)
DENSE = X.toarray()
LABELS = {
    "binary": (DENSE[:, 0] + DENSE[:, 1] > 0).astype(int),
    "multiclass": np.digitize(DENSE[:, :5].sum(axis=1), [-0.4, 0.4]),
    "multilabel": (DENSE[:, :3] > 0).astype(int),
}
TARGETS = {"one": DENSE[:, :5].sum(axis=1), "two": np.column_stack([DENSE[:, :5].sum(axis=1), DENSE[:, 7]])}
SOLVERS = {
    "adam": {},
    "sgd": {"solver": "sgd", "learning_rate_init": 0.1},
    "lbfgs": {"solver": "lbfgs"},
    "early_stopping": {"early_stopping": True},
    "chunks": {"batch_size": 280},
}
COMMON = {"hidden_layer_sizes": (17,), "random_state": 0, "max_iter": 8}
CASES = [
    *((MLPClassifier, TheirClassifier, LABELS[name]) for name in LABELS),
    *((MLPRegressor, TheirRegressor, TARGETS[name]) for name in TARGETS),
]


def coefficients(estimator):
    return [*estimator.coefs_, *estimator.intercepts_]


def assert_close(arrays, others, tolerance):
    for array, other in zip(arrays, others, strict=True):
        assert np.abs(array - other).max() <= tolerance * np.abs(other).max()


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize(("ours", "theirs", "y"), CASES, ids=[*LABELS, *TARGETS])
def test_trajectory_is_scikit_learns_and_that_of_dense_rows(ours, theirs, y, solver):
    parameters = {**COMMON, **SOLVERS[solver]}
    fitted, dense = (ours(**parameters).fit(rows, y) for rows in (X, DENSE))
    expected = theirs(**parameters).fit(X, y)
    assert fitted.n_iter_ == expected.n_iter_
    assert_close(coefficients(fitted), coefficients(dense), 1e-9)
    assert_close(coefficients(fitted), coefficients(expected), 1e-6)
    np.testing.assert_allclose(fitted.predict(X), expected.predict(X), atol=1e-6)
    assert fitted.score(X, y) == pytest.approx(expected.score(X, y), abs=1e-6)


def long_indices(X):
    X = X.copy()
    X.indices, X.indptr = X.indices.astype(np.int64), X.indptr.astype(np.int64)
    return X


def unsorted(X):
    """The entries of each row in reverse."""
    rows = [slice(*bounds) for bounds in zip(X.indptr[:-1], X.indptr[1:])]
    data, indices = (np.concatenate([a[row][::-1] for row in rows]) for a in (X.data, X.indices))
    return sparse.csr_array((data, indices, X.indptr), X.shape)


def duplicated(X):
    """Each entry as two halves."""
    return sparse.csr_array((np.repeat(X.data / 2, 2), np.repeat(X.indices, 2), 2 * X.indptr), X.shape)


def read_only(X):
    X = X.copy()
    for array in (X.data, X.indices, X.indptr):
        array.flags.writeable = False
    return X


FORMS = {
    "csr matrix": sparse.csr_matrix,
    "csc array": sparse.csc_array,
    "csc matrix": sparse.csc_matrix,
    "coo": sparse.coo_array,
    "dense": sparse.csr_array.toarray,
    "int64 indices": long_indices,
    "unsorted": unsorted,
    "duplicates": duplicated,
    "unsorted csc": lambda X: unsorted(X.T.tocsr()).T,
    "read-only": read_only,
    "without explicit zeros": lambda X: sparse.csr_array(X.toarray()),
}


@pytest.mark.parametrize("form", FORMS)
def test_forms_are_equal_and_stay_as_they_are(form):
    y = LABELS["multiclass"]
    expected = MLPClassifier(**COMMON).fit(X, y)
    rows = FORMS[form](X)
    before = rows.copy()
    fitted = MLPClassifier(**COMMON).fit(rows, y)
    assert_close(coefficients(fitted), coefficients(expected), 1e-12)
    np.testing.assert_allclose(fitted.predict_proba(rows), expected.predict_proba(X), atol=1e-12)
    if sparse.issparse(rows):
        names = {"coo": ("data", "row", "col")}.get(rows.format, ("data", "indices", "indptr"))
        for name in names:
            np.testing.assert_array_equal(getattr(rows, name), getattr(before, name))


def test_partial_fit_goes_on_as_with_dense_rows():
    y = LABELS["multiclass"]
    sparse_, dense = (MLPClassifier(**COMMON) for _ in range(2))
    for start in range(0, 300, 100):
        rows = slice(start, start + 100)
        sparse_.partial_fit(X[rows], y[rows], classes=[0, 1, 2])
        dense.partial_fit(DENSE[rows], y[rows], classes=[0, 1, 2])
    assert_close(coefficients(sparse_), coefficients(dense), 1e-9)


@pytest.mark.parametrize("validation", [X[:50], DENSE[:50]], ids=["sparse", "dense"])
@pytest.mark.parametrize("training", [X, DENSE], ids=["sparse", "dense"])
def test_validation_data_of_either_kind(training, validation):
    y = LABELS["binary"]
    parameters = {**COMMON, "early_stopping": True, "metrics": "roc_auc"}
    fitted = MLPClassifier(**parameters).fit(training, y, X_val=validation, y_val=y[:50])
    expected = MLPClassifier(**parameters).fit(DENSE, y, X_val=DENSE[:50], y_val=y[:50])
    assert fitted.validation_scores_ == expected.validation_scores_
    np.testing.assert_allclose(fitted.history_["val_roc_auc"], expected.history_["val_roc_auc"], atol=1e-9)


@pytest.mark.parametrize("solver", SOLVERS)
def test_float32_stays_float32(solver):
    y = LABELS["multiclass"]
    rows = X.astype(np.float32)
    fitted = MLPClassifier(**{**COMMON, **SOLVERS[solver]}).fit(rows, y)
    assert {array.dtype for array in coefficients(fitted)} == {np.dtype(np.float32)}
    assert fitted.predict_proba(rows).dtype == np.float32
    assert fitted.predict_proba(X).dtype == np.float64


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_entries_must_be_finite(bad):
    rows = X.copy()
    rows.data[3] = bad
    with pytest.raises(ValueError, match="Input X contains"):
        MLPClassifier().fit(rows, LABELS["binary"])
    fitted = MLPClassifier(**COMMON).fit(X, LABELS["binary"])
    with pytest.raises(ValueError, match="Input X contains"):
        fitted.predict(rows)


def test_the_number_of_features_is_checked():
    fitted = MLPRegressor(**COMMON).fit(X, TARGETS["one"])
    with pytest.raises(ValueError, match="X has 39 features, but MLPRegressor is expecting 40"):
        fitted.predict(X[:, :39])
