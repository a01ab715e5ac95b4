"""What several test files share: the folder of real data."""

import os
import pathlib

import pytest


@pytest.fixture(scope="session")
def data_folder():
    """The folder that FASTMLP_DATA names; without it the test is skipped, visibly."""
    folder = os.environ.get("FASTMLP_DATA")
    if not folder:
        pytest.skip("FASTMLP_DATA is not set")
    return pathlib.Path(folder)
