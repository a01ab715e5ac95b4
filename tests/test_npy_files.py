"""Rows of ``.npy`` files: whatever the file's order, dtype or version, and what is wrong with it."""

import re

import numpy as np
import pytest

from fastmlp.npy_files import Rows, header_of

VALUES = np.arange(60.0).reshape(20, 3)


@pytest.mark.parametrize(
    "values", [VALUES, np.asfortranarray(VALUES), VALUES.astype(">i4"), VALUES[:, 0], VALUES[:, :0]]
)
@pytest.mark.parametrize("rows", [(0, 20), (3, 7), (19, 20), (5, 5)])
def test_rows_are_those_of_the_array(tmp_path, values, rows):
    path = str(tmp_path / "X.npy")
    np.save(path, values)
    found = Rows(path, 20, *rows).read()
    np.testing.assert_array_equal(found, values[slice(*rows)])
    assert found.dtype == values.dtype


def test_rows_are_read_to_a_room_that_fits(tmp_path):
    path = str(tmp_path / "X.npy")
    np.save(path, VALUES)
    out = np.full((8, 3), np.nan)
    found = Rows(path, 20, 2, 7).read(out)
    assert np.shares_memory(found, out)
    np.testing.assert_array_equal(out[:5], VALUES[2:7])
    assert np.isnan(out[5:]).all()
    for other in (np.zeros((4, 3)), np.zeros((8, 2)), np.zeros((8, 3), np.float32)):
        found = Rows(path, 20, 2, 7).read(other)
        np.testing.assert_array_equal(found, VALUES[2:7])
        assert not np.shares_memory(found, other)
        assert not other.any()


def test_a_file_that_is_written_anew_has_another_header(tmp_path):
    path = str(tmp_path / "X.npy")
    np.save(path, VALUES)
    assert header_of(path).shape == (20, 3)
    np.save(path, VALUES[:7])
    assert header_of(path).shape == (7, 3)
    with pytest.raises(ValueError, match=re.escape("X.npy must have 20 rows; got shape (7, 3)")):
        Rows(path, 20, 0, 5).read()


def test_objects_are_refused(tmp_path):
    path = str(tmp_path / "X.npy")
    np.save(path, np.array([[1, "a"]], object), allow_pickle=True)
    with pytest.raises(ValueError, match="objects"):
        Rows(path, 1, 0, 1).read()
