"""What several test files share: the folder of real data and a mark."""

import os
import pathlib
import signal

import pytest
import sklearn
from sklearn.datasets import load_digits
from sklearn.utils.fixes import parse_version

# The files that take longest begin first, so that no process is left alone with one of them at the end.
LONGEST = (
    "test_sklearn_checks.py",
    "test_dask.py",
    "test_affine.py",
    "test_demos.py",
    "test_faults.py",
    "test_hatch_build.py",
    "test_fuzz.py",
    "test_tables.py",
    "test_units.py",
    "test_kernels.py",
    "test_session.py",
)


def pytest_collection_modifyitems(items):
    order = {name: number for number, name in enumerate(LONGEST)}
    items.sort(key=lambda item: order.get(item.path.name, len(LONGEST)))


def pytest_configure(config):
    config.addinivalue_line("markers", "scikit_learn(version): looks at what scikit-learn has from this version on")


def pytest_runtest_setup(item):
    for mark in item.iter_markers("scikit_learn"):
        if parse_version(sklearn.__version__) < parse_version(mark.args[0]):
            pytest.skip(f"scikit-learn has this from {mark.args[0]} on; this is {sklearn.__version__}")


@pytest.fixture
def keyboard():
    """Ctrl-C as at a terminal; a shell starts its jobs in the background with the signal ignored."""
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, handler)


@pytest.fixture(scope="session")
def data_folder():
    """The folder that FASTMLP_DATA names; without it the test is skipped, visibly."""
    folder = os.environ.get("FASTMLP_DATA")
    if not folder:
        pytest.skip("FASTMLP_DATA is not set")
    return pathlib.Path(folder)


@pytest.fixture(scope="module")
def digits():
    """(X, y): four hundred handwritten digits, pixels in [0, 1], and their labels."""
    X, y = load_digits(return_X_y=True)
    return X[:400] / 16, y[:400]
