"""Kernels of a test's own: a file of source, whose machine code goes to a folder beside it."""

import pytest

from fastmlp.machine.kernels import KERNELS


@pytest.fixture
def file_of(tmp_path, monkeypatch):
    """What writes a source to a file, whose machine code goes to a folder `cache` beside it; forgets its kernels."""
    before = [*KERNELS]
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("FASTMLP_QUIET", "1")

    def write(source):
        path = tmp_path / "functions.py"
        path.write_text(source, encoding="utf8")
        return path

    yield write
    KERNELS[:] = before
