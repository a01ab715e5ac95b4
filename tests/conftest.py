"""What several test files share: the folder of real data and a mark."""

import os
import pathlib

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
