"""A folder's content is recognised by its bytes, and must be the registered one."""

import json
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from tests.runtime.serving import model_folders

from mlops_runtime.serving.model_folder import checked_manifest, recognised, write_manifest
from mlops_runtime.serving.served_model import ModelError

Write = Callable[[Path], object]
TREES = "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor"
CATEGORIES = b'{"learner":{"feature_names":["a"],"feature_types":["int","c"],"gradient_booster":{}}}'


def _skops(folder: Path, module: str, kind: str) -> None:
    with zipfile.ZipFile(folder / "model.skops", "w") as archive:
        archive.writestr(
            "schema.json",
            json.dumps(
                {"__module__": module, "__class__": kind, "content": [{"__module__": "numpy", "__class__": "ndarray"}]}
            ),
        )


def _mlflow(folder: Path, *names: str, loader: str = "mlflow.xgboost") -> None:
    (folder / "churn").mkdir()
    function = f"flavors:\n  python_function:\n    loader_module: {loader}\n    python_model: model.py\n"
    (folder / "churn" / "MLmodel").write_text(function)
    for name in names:
        (folder / "churn" / name).write_bytes(b'{"learner": {}}' if name.endswith(".json") else b"x")


@pytest.mark.parametrize(
    ("write", "flavor", "entry", "takes", "trust"),
    [
        (lambda f: (f / "m.json").write_bytes(b'{"learner":{"attributes":{}}}'), "xgboost", "m.json", "matrix", "data"),
        (lambda f: (f / "m.ubj").write_bytes(b"{L\0\0\0\0\0\0\0\7learner{"), "xgboost", "m.ubj", "matrix", "data"),
        (model_folders.trees, "lightgbm", "model.txt", "matrix", "data"),
        (lambda f: (f / "m.cbm").write_bytes(b"CBM1\0\0"), "catboost", "m.cbm", "frame", "data"),
        (lambda f: _skops(f, "sklearn.linear_model._base", "LinearRegression"), "skops", "model.skops", "frame", "data"),
        (lambda f: (f / "m.json").write_bytes(CATEGORIES), "xgboost", "m.json", "frame", "data"),
        (lambda f: (f / "m.joblib").write_bytes(b"\x80\4."), "pickle", "m.joblib", "frame", "pickle"),
        (lambda f: _mlflow(f, "model.pkl"), "mlflow", "churn", "frame", "pickle"),
        (lambda f: _mlflow(f, "model.json"), "mlflow", "churn", "frame", "data"),
        (lambda f: _mlflow(f, "model.py", loader="mlflow.pyfunc.model"), "mlflow", "churn", "frame", "code"),
        (lambda f: _mlflow(f, "model.json", loader="mlflow.pytorch"), "mlflow", "churn", "frame", "pickle"),
        (model_folders.handler, "handler", "model.py", "frame", "code"),
    ],
)  # fmt: skip
def test_a_flavor_is_recognised_by_its_bytes(
    tmp_path: Path, write: Write, flavor: str, entry: str, takes: str, trust: str
) -> None:
    """With the effects of loading it."""
    write(tmp_path)
    found = recognised(tmp_path)
    assert (found.flavor, found.entry, found.takes, found.trust) == (flavor, entry, takes, trust)


def test_a_handler_of_sagemakers_is_one_too(tmp_path: Path) -> None:
    """Also in the folder ``code``, as in its toolkits."""
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "inference.py").write_text("def model_fn(folder): pass\ndef predict_fn(data, model): pass\n")
    assert recognised(tmp_path).entry == "code/inference.py"


def test_a_skops_file_is_trusted_for_data_alone(tmp_path: Path) -> None:
    """Its other names count only if the team declared them, and make it a pickle."""
    _skops(tmp_path, "sklearn.linear_model._base", "LinearRegression")
    assert recognised(tmp_path).trusted == ("sklearn.linear_model._base.LinearRegression",)
    (tmp_path / "trusted-types.txt").write_text(f"{TREES}\n\n")
    found = recognised(tmp_path)
    assert (found.trust, found.trusted) == ("pickle", (TREES, "sklearn.linear_model._base.LinearRegression"))


def test_fails_for_a_manifest_that_trusts_more_than_the_team(tmp_path: Path) -> None:
    """Nobody declared a type that is only in the manifest."""
    _skops(tmp_path, "sklearn.linear_model._base", "LinearRegression")
    model_folders.packed(tmp_path)
    manifest, _ = checked_manifest(tmp_path, expected_sha256=None)
    write_manifest(tmp_path, replace(manifest, trusted=("os.system",)))
    with pytest.raises(
        ModelError, match=r"mlops-model\.json trusts types that trusted-types\.txt does not name: os\.system"
    ):
        checked_manifest(tmp_path, expected_sha256=None)


@pytest.mark.parametrize("name", ["input_fn", "output_fn", "transform_fn"])
def test_fails_for_a_handler_that_would_read_requests(tmp_path: Path, name: str) -> None:
    """It would never run, and its preprocessing would be missing."""
    functions = f"def model_fn(f): pass\ndef predict_fn(d, m): pass\ndef {name}(*_): pass\n"
    (tmp_path / "inference.py").write_text(functions)
    with pytest.raises(ModelError, match=f"inference.py defines {name}, which would never run: .* remove them"):
        recognised(tmp_path)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "model.py with load and predict; got no file"),
        ({"notes.csv": b"a,b"}, "model.py with load and predict; got notes.csv"),
        ({"net.pt": b"PK"}, r"net\.pt has weights without a network; export ONNX, or add model\.py"),
        ({"net.safetensors": b"\0"}, r"net\.safetensors has weights without a network"),
        ({"a.pkl": b"\x80\4.", "b.cbm": b"CBM1"}, r"the folder must have one model, got a\.pkl, b\.cbm; keep one"),
        ({"model.skops": b"PK\5\6" + b"\0" * 18}, r"model\.skops is not a skops file"),
        ({"model.py": b"def load(folder): pass\n"}, r"model\.py must define load and predict, predict is missing"),
        ({"model.py": b"def load(\n"}, r"model\.py is not Python"),
    ],
)
def test_fails_for_what_cannot_be_served(tmp_path: Path, files: dict[str, bytes], message: str) -> None:
    """By name with the fix."""
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    with pytest.raises(ModelError, match=message):
        recognised(tmp_path)


def test_a_folder_is_what_its_manifest_says(tmp_path: Path) -> None:
    """Every file has its hash, and the manifest's hash is the model's."""
    digest = model_folders.handler(tmp_path)
    manifest, found = checked_manifest(tmp_path, expected_sha256=digest)
    assert found == digest
    assert sorted(manifest.files) == ["factor.txt", "model.py", "signature.json"]
    assert (manifest.flavor, manifest.trust, manifest.requirements_sha256) == ("handler", "code", model_folders.LOCK)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: (f / "factor.txt").write_text("4"), r"factor\.txt has SHA-256 [0-9a-f]{64}, mlops-model\.json has"),
        (lambda f: (f / "factor.txt").unlink(), r"factor\.txt is missing"),
        (lambda f: (f / "more.py").write_text("x"), r"more\.py is not in mlops-model\.json"),
        (lambda f: (f / "link").symlink_to("/etc/passwd"), "link is a link or a device"),
        (lambda f: (f / "folder").symlink_to("/etc"), "folder is a link or a device"),
        (lambda f: (f / "mlops-model.json").write_text("{}"), r"json: not a valid ModelManifest: .*\$\.flavor is missing"),
        (lambda f: (f / "mlops-model.json").unlink(), r"cannot read .*mlops-model\.json"),
    ],
)  # fmt: skip
def test_fails_for_another_folder(tmp_path: Path, change: Write, message: str) -> None:
    """Changed, missing, added and linked files."""
    model_folders.handler(tmp_path)
    change(tmp_path)
    with pytest.raises(ModelError, match=message):
        checked_manifest(tmp_path, expected_sha256=None)


def test_every_problem_is_named_at_once(tmp_path: Path) -> None:
    """A manifest with a missing file and without the signature."""
    model_folders.handler(tmp_path)
    manifest, _ = checked_manifest(tmp_path, expected_sha256=None)
    files = {name: digest for name, digest in manifest.files.items() if name != "signature.json"} | {
        "gone.bin": "0" * 64
    }
    write_manifest(
        tmp_path, type(manifest)(**{**{f: getattr(manifest, f) for f in manifest.__slots__}, "files": files})
    )
    with pytest.raises(
        ModelError, match=r"gone\.bin is missing; .*does not list signature\.json; signature\.json is not in"
    ) as caught:
        checked_manifest(tmp_path, expected_sha256=None)
    assert "factor.txt" not in str(caught.value)


@pytest.mark.parametrize(
    "claim", [{"flavor": "lightgbm"}, {"entry": "inference.py"}, {"trust": "data"}], ids=lambda each: next(iter(each))
)
def test_a_manifest_cannot_say_less_than_the_files_do(tmp_path: Path, claim: dict[str, str]) -> None:
    """The files decide: a training may write its own manifest, with a pickle declared as "data"."""
    model_folders.handler(tmp_path)
    manifest, _ = checked_manifest(tmp_path, expected_sha256=None)
    write_manifest(tmp_path, replace(manifest, **claim))  # type: ignore[arg-type]
    with pytest.raises(
        ModelError, match=r"but model\.py is loaded by handler with trust 'code'; pack the folder again"
    ):
        checked_manifest(tmp_path, expected_sha256=None)


def test_a_manifest_may_say_more(tmp_path: Path) -> None:
    """A module that unpickles declares it itself."""
    model_folders.handler(tmp_path)
    manifest, _ = checked_manifest(tmp_path, expected_sha256=None)
    write_manifest(tmp_path, replace(manifest, trust="pickle"))
    assert checked_manifest(tmp_path, expected_sha256=None)[0].trust == "pickle"
