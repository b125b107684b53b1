"""Models made elsewhere are packed like a training's own, or rejected by name before the upload."""

import hashlib
import io
import json
import pickle
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.runtime.serving import model_folders

from mlops_runtime.contracts import to_dict
from mlops_runtime.serving.model_archive import unpack
from mlops_runtime.serving.model_folder import checked_manifest
from mlops_runtime.serving.model_packing import PackingError, Predicts, pack, pack_for_container
from mlops_runtime.serving.served_model import ModelError

LOCK = f"# uv pip compile --generate-hashes --python-version 3.13\n{model_folders.LOCK_TEXT}"
SIGNED = json.dumps(to_dict(model_folders.SIGNATURE))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with signature and lock and no model yet."""
    made = tmp_path / "model"
    made.mkdir()
    (made / "signature.json").write_text(SIGNED)
    (made / "requirements.lock").write_text(LOCK)
    return made


def _unpacked(archive: Path, target: Path) -> Path:
    with archive.open("rb") as packed:
        unpack(packed, target)
    return target


def test_a_folder_is_packed_with_its_manifest(folder: Path, tmp_path: Path) -> None:
    """Flavor, trust and lock are detected; a server accepts the result by the package's hash."""
    model_folders.trees(folder)
    (folder / "signature.json").write_text(SIGNED)
    (folder / "__pycache__").mkdir()
    (folder / "__pycache__" / "x.pyc").write_bytes(b"x")
    packed = pack(folder, tmp_path / "a.tar.gz")
    assert (packed.flavor, packed.trust) == ("lightgbm", "data")
    assert packed.lock is not None
    assert packed.lock.sha256 == hashlib.sha256(LOCK.encode()).hexdigest()
    assert packed.sha256 == hashlib.sha256(packed.archive.read_bytes()).hexdigest()
    manifest, _ = checked_manifest(_unpacked(packed.archive, tmp_path / "out"), expected_sha256=packed.model_sha256)
    assert sorted(manifest.files) == ["model.txt", "requirements.lock", "signature.json"]
    assert manifest.python == "3.13"


def test_the_same_model_makes_the_same_archive(folder: Path, tmp_path: Path) -> None:
    """From a folder, from its archive, and at another time: a second registration needs no second upload."""
    model_folders.handler(folder)
    first = pack(folder, tmp_path / "a.tar.gz")
    again = pack(first.archive, tmp_path / "b.tar.gz")
    assert (again.sha256, again.model_sha256) == (first.sha256, first.model_sha256)


def test_a_file_takes_what_lies_beside_it(folder: Path, tmp_path: Path) -> None:
    """Signature and lock only."""
    model_folders.trees(folder)
    (folder / "signature.json").write_text(SIGNED)
    (folder / "rows.csv").write_text("a,b")
    other = tmp_path / "other.lock"
    other.write_text(LOCK + "# of another team\n")
    packed = pack(folder / "model.txt", tmp_path / "a.tar.gz", requirements=other)
    assert packed.lock is not None
    assert packed.lock.sha256 == hashlib.sha256(other.read_bytes()).hexdigest()
    assert not (_unpacked(packed.archive, tmp_path / "out") / "rows.csv").exists()


def test_onnx_is_packed_alone(folder: Path, tmp_path: Path) -> None:
    """As a training leaves it: no manifest, lock or flavor."""
    (folder / "model.onnx").write_bytes(b"onnx")
    packed = pack(folder, tmp_path / "a.tar.gz")
    assert (packed.flavor, packed.trust, packed.lock) == (None, None, None)
    assert packed.model_sha256 == hashlib.sha256(b"onnx").hexdigest()
    with tarfile.open(packed.archive) as tar:
        assert tar.getnames() == ["model.onnx", "signature.json"]


def test_a_pickle_is_said_by_name(folder: Path, tmp_path: Path) -> None:
    """It needs an explicit declaration at each registration; a handler that unpickles may declare it itself."""
    (folder / "model.pkl").write_bytes(pickle.dumps(1))
    with pytest.raises(ModelError, match=r"model\.pkl is loaded by pickle, which unpickles: .* --trust pickle"):
        pack(folder, tmp_path / "a.tar.gz")
    with pytest.raises(ModelError, match="loaded by pickle with trust 'pickle', got 'code'"):
        pack(folder, tmp_path / "a.tar.gz", trust="code")
    assert pack(folder, tmp_path / "a.tar.gz", trust="pickle").trust == "pickle"
    (folder / "model.pkl").unlink()
    model_folders.handler(folder)
    assert pack(folder, tmp_path / "a.tar.gz", trust="pickle").trust == "pickle"


def _bomb(folder: Path) -> None:
    with tarfile.open(folder.parent / "bad.tar.gz", "w:gz") as tar:
        member = tarfile.TarInfo("../evil")
        member.size = 1
        tar.addfile(member, io.BytesIO(b"x"))


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("model", lambda f: (f / "net.pt").write_bytes(b"PK"), r"net\.pt has weights without a network"),
        ("model", lambda f: (f / "signature.json").unlink(), r"signature\.json is missing beside the model; it names"),
        ("model", lambda f: (f / "signature.json").write_text("{}"), r"signature\.json: not a valid ModelSignature"),
        ("model", lambda f: (f / "link").symlink_to("/etc/passwd"), "link is a link; a model consists of regular files"),
        ("model", lambda f: (f / "requirements.lock").unlink() or _handler(f), r"requirements\.lock is missing: .* image lock"),
        ("model", lambda f: (f / "requirements.lock").write_text("numpy\n") and _handler(f), r"requirements\.lock: "),
        ("model", lambda f: (f / "model.onnx").write_bytes(b"x") and (f / "model.onnx.data").write_bytes(b"x"),
         r"model\.onnx\.data has weights beside model\.onnx; export one file"),
        ("bad.tar.gz", _bomb, r"cannot read .*bad\.tar\.gz"),
        ("gone", Path.exists, r"cannot read .*gone: No such file"),
    ],
)  # fmt: skip
def test_fails_for_what_cannot_be_served(
    folder: Path, tmp_path: Path, name: str, change: Callable[[Path], object], message: str
) -> None:
    """With the file and the fix; no archive is written."""
    change(folder)
    with pytest.raises(ModelError, match=message):
        pack(tmp_path / name, tmp_path / "a.tar.gz")
    assert not (tmp_path / "a.tar.gz").exists()


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("model.txt", "tree\nversion=v4\nmax_feature_idx=1\nfeature_names={}\nTree=0\n"),
        (
            "model.json",
            '{{"learner":{{"attributes":{{}},"feature_names":["{}"],"feature_types":["float","float"],"grad',
        ),
    ],
)
def test_a_native_model_of_other_columns_is_refused(folder: Path, tmp_path: Path, name: str, text: str) -> None:
    """By the names in its text, in any order; unnamed columns are accepted."""
    own, between = [column.name for column in model_folders.SIGNATURE.inputs], " " if name == "model.txt" else '","'
    for columns in (own[::-1], ["Column_0", "Column_1"]):
        (folder / name).write_text(text.format(between.join(columns)))
        assert pack(folder, tmp_path / "a.tar.gz").trust == "data"
    problem = f"was trained with columns {own[0]}, other; signature.json declares {', '.join(own)}"
    for columns, message in (
        ([own[0], "other"], problem),
        (own[:1], "takes 1 columns, signature.json declares 2"),
    ):
        (folder / name).write_text(text.format(between.join(columns)))
        with pytest.raises(ModelError, match=f"{name}: the model {message}"):
            pack(folder, tmp_path / "a.tar.gz")


def _handler(folder: Path) -> None:
    (folder / "model.py").write_text(model_folders.HANDLER)


def test_an_mlflow_folder_has_the_signature_that_it_carries(folder: Path, tmp_path: Path) -> None:
    """In the folder or below it; signature.json takes precedence, and is required for an unknown output."""
    (folder / "signature.json").unlink()
    mlflow = folder / "model"
    mlflow.mkdir()
    model_folders.trees(mlflow)
    (mlflow / "signature.json").unlink(missing_ok=True)
    columns = """[{"type": "double", "name": "price", "required": true}]"""
    function = "flavors:\n  python_function:\n    loader_module: mlflow.lightgbm\n"
    (mlflow / "MLmodel").write_text(f"{function}signature:\n  inputs: '{columns}'\n  outputs: '[]'\n  params: null\n")
    for found in (
        pack(folder, tmp_path / "a.tar.gz", predicts=Predicts(output="churned", kind="probability")),
        pack_for_container(
            folder, tmp_path / "b.tar.gz", trust="code", predicts=Predicts(output="churned", kind="probability")
        ),
    ):
        signature = found.signature
        assert (signature.output, signature.kind, [column.name for column in signature.inputs]) == (
            "churned",
            "probability",
            ["price"],
        )
        assert (_unpacked(found.archive, tmp_path / found.archive.name[0]) / "signature.json").is_file()
    with pytest.raises(ModelError, match=r"signature\.json is missing"):
        pack(folder, tmp_path / "c.tar.gz")
    (folder / "signature.json").write_text(SIGNED)
    assert pack(folder, tmp_path / "d.tar.gz", predicts=Predicts(output="churned")).signature == model_folders.SIGNATURE


def test_a_container_gets_what_lies_there(folder: Path, tmp_path: Path) -> None:
    """Any format with a signature, without a manifest; its hash is the archive's."""
    (folder / "weights.bin").write_bytes(b"\0")
    packed = pack_for_container(folder, tmp_path / "a.tar.gz", trust="code")
    assert (packed.flavor, packed.trust, packed.lock) == ("container", "code", None)
    assert packed.sha256 == packed.model_sha256 == hashlib.sha256(packed.archive.read_bytes()).hexdigest()
    names = sorted(path.name for path in _unpacked(packed.archive, tmp_path / "out").iterdir())
    assert names == ["requirements.lock", "signature.json", "weights.bin"]


def test_fails_for_a_pickle_that_the_container_does_not_declare(folder: Path, tmp_path: Path) -> None:
    """By name; with the declared trust it is packed."""
    (folder / "model.pkl").write_bytes(b"\x80\4.")
    with pytest.raises(ModelError, match=r"model\.pkl is a pickle, .*set trust='pickle' in ServingContainer"):
        pack_for_container(folder, tmp_path / "a.tar.gz", trust="data")
    assert pack_for_container(folder, tmp_path / "a.tar.gz", trust="pickle").trust == "pickle"


def test_a_lock_that_is_not_there_is_named_with_what_writes_it(folder: Path, tmp_path: Path) -> None:
    """A lock given by name is not replaced by one next to the model."""
    with pytest.raises(ModelError, match=r"the lock .*other\.lock is missing; write it with: mlops image lock"):
        pack(tmp_path / "model", tmp_path / "a.tar.gz", requirements=tmp_path / "other.lock")


def test_every_problem_of_a_folder_is_said_at_once(folder: Path, tmp_path: Path) -> None:
    """Problems of signature, lock and trust, next to the detected facts of the model."""
    (folder / "model.pkl").write_bytes(pickle.dumps(1))
    (folder / "signature.json").write_text('{"inputs": [{"name": "store", "type": "category"}], "output": "y"}')
    (folder / "requirements.lock").write_text("numpy==2.4.0 --hash=sha256:" + "0" * 64)
    with pytest.raises(PackingError) as caught:
        pack(folder, tmp_path / "a.tar.gz")
    assert [problem.partition(":")[0] for problem in caught.value.problems] == [
        "signature.json",
        "model.pkl is loaded by pickle, which unpickles",
        "requirements.lock lacks pandas (model.pkl predicts from a pandas frame); add it to requirements.in and write the lock "
        "with",
    ]
    facts = caught.value.facts
    assert (facts.flavor, facts.trust, facts.signature is not None, facts.lock is not None) == (
        "pickle",
        "pickle",
        True,
        True,
    )
