"""Rows of ``.npy`` files: whatever the file's order, dtype or version, and what is wrong with it."""

import os
import re
import threading
import time

import numpy as np
import pytest

from fastmlp.npy_files import OpenFiles, header_of

VALUES = np.arange(60.0).reshape(20, 3)


@pytest.mark.parametrize(
    "values", [VALUES, np.asfortranarray(VALUES), VALUES.astype(">i4"), VALUES[:, 0], VALUES[:, :0]]
)
@pytest.mark.parametrize("rows", [(0, 20), (3, 7), (19, 20), (5, 5)])
def test_rows_are_those_of_the_array(tmp_path, values, rows):
    path = str(tmp_path / "X.npy")
    np.save(path, values)
    found = OpenFiles().read(path, 20, slice(*rows))
    np.testing.assert_array_equal(found, values[slice(*rows)])
    assert found.dtype == values.dtype


def test_rows_are_read_to_a_room_that_fits(tmp_path):
    path = str(tmp_path / "X.npy")
    np.save(path, VALUES)
    out = np.full((8, 3), np.nan)
    found = OpenFiles().read(path, 20, slice(2, 7), out)
    assert np.shares_memory(found, out)
    np.testing.assert_array_equal(out[:5], VALUES[2:7])
    assert np.isnan(out[5:]).all()
    for other in (np.zeros((4, 3)), np.zeros((8, 2)), np.zeros((8, 3), np.float32)):
        found = OpenFiles().read(path, 20, slice(2, 7), other)
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
        OpenFiles().read(path, 20, slice(0, 5))


def test_objects_are_refused(tmp_path):
    path = str(tmp_path / "X.npy")
    np.save(path, np.array([[1, "a"]], object), allow_pickle=True)
    with pytest.raises(ValueError, match="objects"):
        OpenFiles().read(path, 1, slice(0, 1))


def descriptors():
    return set(os.listdir("/proc/self/fd"))


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="the system tells of no descriptors")
def test_the_latest_files_stay_open_in_the_thread_that_reads_them(tmp_path):
    paths = [str(tmp_path / f"{n}.npy") for n in range(4)]
    for n, path in enumerate(paths):
        np.save(path, VALUES + n)
    files, before, seen = OpenFiles(most=2), descriptors(), []

    def read(files):
        for n, path in [*enumerate(paths), *enumerate(paths)][::-1]:
            np.testing.assert_array_equal(files.read(path, 20, slice(0, 3)), VALUES[:3] + n)
        seen.append(descriptors() - before)

    read(files)
    thread = threading.Thread(target=read, args=(files,))
    thread.start()
    thread.join()
    del thread
    assert [len(more) for more in seen] == [2, 4]
    assert descriptors() - before == seen[0]  # those of the thread are closed
    del files
    assert descriptors() == before


@pytest.mark.parametrize("replaced", [False, True])
def test_an_open_file_that_changes_is_read_anew(tmp_path, replaced):
    path, files = str(tmp_path / "X.npy"), OpenFiles()
    np.save(path, VALUES)
    files.read(path, 20, slice(0, 20))
    time.sleep(0.02)  # the time of the file's change must differ
    np.save(tmp_path / "other.npy" if replaced else path, -VALUES)
    if replaced:
        os.replace(tmp_path / "other.npy", path)
    np.testing.assert_array_equal(files.read(path, 20, slice(0, 20)), -VALUES)


def test_systems_that_cannot_read_at_a_position(tmp_path, monkeypatch):
    monkeypatch.delattr(os, "preadv", raising=False)
    path = str(tmp_path / "X.npy")
    np.save(path, VALUES)
    np.testing.assert_array_equal(OpenFiles().read(path, 20, slice(4, 9)), VALUES[4:9])
