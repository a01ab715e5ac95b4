"""Files of machine code: whole and as expected, or not used."""

import os
import pathlib
import random
import shutil

import pytest
from source_files import module_of

import fastmlp
from fastmlp.machine import object_file
from fastmlp.machine.object_file import ObjectCode, Unfit, cache_folder, cache_folders, pack, read, unpack, write

STAMP = {"kernel": "k", "dtype": "float32", "sources": "abc"}
CODE = ObjectCode(bytes(range(256)) * 4, ("memset", "usleep"))
PACKAGE = pathlib.Path(fastmlp.__file__).parent


def test_what_is_written_is_read(tmp_path):
    path = tmp_path / "folder" / "a.kernel"
    write(path, STAMP, CODE)
    assert read(path, STAMP) == CODE
    write(path, STAMP, ObjectCode(b"other", ()))
    assert read(path, STAMP) == ObjectCode(b"other", ())
    assert [file.name for file in path.parent.iterdir()] == ["a.kernel"]


def test_any_flipped_bit_is_found():
    data = pack(STAMP, CODE)
    for position in range(len(data)):
        for bit in (0, 3, 7):
            tampered = bytearray(data)
            tampered[position] ^= 1 << bit
            with pytest.raises(Unfit, match="checksum"):
                unpack(bytes(tampered), STAMP)


@pytest.mark.parametrize("seed", range(20))
def test_truncated_lengthened_and_mixed_files_are_refused(seed, tmp_path):
    chance, data = random.Random(seed), pack(STAMP, CODE)
    path = tmp_path / "a.kernel"
    cut = chance.randrange(len(data))
    for bad in (data[:cut], data[cut:], data + b"\0", data[cut:] + data[:cut], chance.randbytes(cut), b""):
        if bad == data:  # cut at 0
            continue
        path.write_bytes(bad)
        with pytest.raises(Unfit):
            read(path, STAMP)


@pytest.mark.parametrize("field", STAMP)
def test_another_stamp_is_refused_with_the_reason(field):
    with pytest.raises(Unfit, match=f"its {field} is .*, not 'other'"):
        unpack(pack(STAMP, CODE), {**STAMP, field: "other"})
    with pytest.raises(Unfit, match="its more is None"):
        unpack(pack(STAMP, CODE), {**STAMP, "more": 1})


def test_a_missing_file_and_a_folder_in_its_place(tmp_path):
    with pytest.raises(Unfit, match="there is none"):
        read(tmp_path / "nothing", STAMP)
    with pytest.raises(Unfit, match="it cannot be read"):
        read(tmp_path, STAMP)


def test_a_full_disk_leaves_what_was_there(tmp_path, monkeypatch):
    path = tmp_path / "a.kernel"
    write(path, STAMP, CODE)

    def full(*arguments):
        raise OSError("No space left on device")

    monkeypatch.setattr(object_file, "pack", full)
    with pytest.raises(OSError, match="No space"):
        write(path, STAMP, ObjectCode(b"new", ()))
    monkeypatch.undo()
    assert read(path, STAMP) == CODE
    assert len(list(tmp_path.iterdir())) == 1


# --- folders ----------------------------------------------------------------------------------------------------------


def test_the_named_folder_is_the_only_one(monkeypatch, tmp_path):
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "named"))
    assert cache_folders() == [tmp_path / "named" / "fastmlp"]
    assert cache_folder() == tmp_path / "named" / "fastmlp"


@pytest.mark.skipif(os.name == "nt", reason="the user's folder is named by other variables")
def test_without_a_home_no_relative_folder_is_used(monkeypatch, tmp_path):
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert len(cache_folders()) == 1
    monkeypatch.setenv("XDG_CACHE_HOME", "")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert all(folder.is_absolute() for folder in cache_folders())


def test_nowhere_to_write(monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "file"))
    assert cache_folder() is None


# --- the digest of the sources ----------------------------------------------------------------------------------------


@pytest.fixture
def package(tmp_path):
    """A copy of the package."""
    shutil.copytree(PACKAGE, tmp_path / "copy", ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path / "copy"


def digest(package):
    return module_of(package / "machine" / "object_file.py").DIGEST


@pytest.mark.parametrize("edited", ["losses.py", "machine/simd.py", "machine/jit.py", "core/engine.py"])
def test_edit_of_a_source_of_kernels_changes_the_digest(package, edited):
    before = digest(package)
    path = package / edited
    text = path.read_text(encoding="utf8")
    path.write_text(text + "# edited\n", encoding="utf8")
    assert digest(package) != before
    path.write_text(text, encoding="utf8")
    assert digest(package) == before


@pytest.mark.parametrize(
    "edited", ["estimators/__init__.py", "plotting.py", "demos/graph.py", "core/network.py", "machine/kernels.py"]
)
def test_edit_of_another_source_keeps_the_digest(package, edited):
    before = digest(package)
    with (package / edited).open("a", encoding="utf8") as file:
        file.write("# edited\n")
    assert digest(package) == before


def test_rename_and_removal_of_a_source_change_the_digest(package):
    seen = {digest(package)}
    (package / "losses.py").rename(package / "lossez.py")
    seen.add(digest(package))
    (package / "lossez.py").unlink()
    seen.add(digest(package))
    assert len(seen) == 3
