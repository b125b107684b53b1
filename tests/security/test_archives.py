"""Hostile archives at each reader: `test_model_archive` covers `unpack` of server and pods, this file the jobs' reader.

An evaluation reads a candidate's archive in memory. For any archive it gets the model from the two expected members, or a
named error; nothing is written, and no pickle is read.
"""

import gzip
import io
import pickle
import tarfile
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.runtime.serving.test_model_archive import EVIL, packed

from mlops_runtime.serving.onnx_model import load_archive
from mlops_runtime.serving.served_model import ModelError

SIGNATURE = b'{"inputs": [{"name": "x", "type": "number"}], "output": "y"}'


class _Runs:
    """Writes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return Path.touch, (self.path,)


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """A path beside which every new file is counted."""
    folder = tmp_path / "input"
    folder.mkdir()
    return folder / "model.tar.gz"


@pytest.mark.parametrize("make", [row[3] for row in EVIL], ids=[row[0] for row in EVIL])
def test_a_job_refuses_by_name_and_writes_nothing(make: Callable[[], bytes], archive: Path) -> None:
    """None of them has both members of a model."""
    archive.write_bytes(make())
    began = time.process_time()
    with pytest.raises(ModelError, match=r"model\.tar\.gz"):
        load_archive(archive)
    assert time.process_time() - began < 5
    assert sorted(archive.parent.parent.rglob("*")) == [archive.parent, archive]


@pytest.mark.parametrize("name", ["model.onnx", "./model.onnx"])
@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE])
def test_the_model_is_a_regular_file(name: str, kind: bytes, archive: Path) -> None:
    """Rejects a link or a device in place of the model."""
    archive.write_bytes(packed(("signature.json", SIGNATURE), (name, kind, "/etc/hostname")))
    with pytest.raises(ModelError, match=r"model\.onnx' is (a|of)"):
        load_archive(archive)


def test_two_members_of_one_name_are_refused(archive: Path) -> None:
    """A check might hash the first and a reader run the second."""
    archive.write_bytes(packed(("model.onnx", b"a"), ("signature.json", SIGNATURE), ("./model.onnx", b"b")))
    with pytest.raises(ModelError, match=r"'model\.onnx' occurs twice"):
        load_archive(archive)


def test_a_size_that_is_not_there_is_refused(archive: Path) -> None:
    """A header claims more than any model may have."""
    output = io.BytesIO()
    with tarfile.open(fileobj=output, mode="w:gz") as tar:
        member = tarfile.TarInfo("model.onnx")
        member.size = 64 * 1024**3
        tar.fileobj.write(member.tobuf(tarfile.GNU_FORMAT))  # type: ignore[union-attr]
    archive.write_bytes(output.getvalue())
    with pytest.raises(ModelError):
        load_archive(archive)


def test_a_bomb_beside_the_model_ends_early(archive: Path) -> None:
    """Skipping 100 GB of zeros in an unread file took minutes."""
    zeros = gzip.compress(b"\0" * 1024**2)
    with archive.open("wb") as file:
        header = tarfile.TarInfo("notes.txt")
        header.size = 100 * 1024**3
        file.write(gzip.compress(header.tobuf(tarfile.GNU_FORMAT)))
        for _ in range(1024):
            file.write(zeros)
    began = time.process_time()
    with pytest.raises(ModelError, match="unpacks to more than 200 times its size"):
        load_archive(archive)
    assert time.process_time() - began < 5


@pytest.mark.parametrize("name", ["model.onnx", "model.pkl", "signature.json"])
def test_no_pickle_is_read(name: str, archive: Path, tmp_path: Path) -> None:
    """In place of the model, beside it, or in place of the signature, its bytes are not a valid model."""
    touched = tmp_path / "touched"
    members = {"model.onnx": b"", "signature.json": SIGNATURE, name: pickle.dumps(_Runs(touched))}
    archive.write_bytes(packed(*members.items()))
    with pytest.raises(ModelError):
        load_archive(archive)
    assert not touched.exists()
    pickle.loads(members[name])  # noqa: S301 - the attack works where it is read
    assert touched.exists()
