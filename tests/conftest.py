"""What several test files share: the folder of real data, a mark, and what must hold after the whole run."""

import collections
import os
import pathlib
import sys

import pytest
import sklearn
from sklearn.datasets import load_digits
from sklearn.utils.fixes import parse_version


def pytest_configure(config):
    config.addinivalue_line("markers", "scikit_learn(version): looks at what scikit-learn has from this version on")


def pytest_runtest_setup(item):
    for mark in item.iter_markers("scikit_learn"):
        if parse_version(sklearn.__version__) < parse_version(mark.args[0]):
            pytest.skip(f"scikit-learn has this from {mark.args[0]} on; this is {sklearn.__version__}")


@pytest.fixture(scope="session", autouse=True)
def one_signature_per_dtype():
    """After all tests the compiled entry has one signature per dtype, whatever the data were."""
    yield
    if engine := sys.modules.get("fastmlp.core.engine"):
        dtypes = collections.Counter(dtype for _member, dtype, *_tables in engine.work.signatures)
        assert set(dtypes.values()) <= {1}, dtypes


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
