"""The folder of a model with a manifest: which flavor it is, and that it holds what was registered and nothing else.

Nothing is loaded here. A flavor is recognised by the bytes of a file, not by what a script says of it.
"""

import ast
import hashlib
import json
import os
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, get_args

from mlops_runtime.contracts import ContractError, canonical_json, from_json
from mlops_runtime.contracts.model_manifest import Flavor, ModelManifest, Takes, Trust
from mlops_runtime.serving.served_model import SIGNATURE_FILE, ModelError

MANIFEST_FILE = "mlops-model.json"
_MLFLOW = "MLmodel"
_TRUSTS = get_args(Trust)  # the last may do the most
_PICKLES = (".pkl", ".pickle", ".joblib")
_WEIGHTS = (".pt", ".pth", ".safetensors")
_BESIDE = (SIGNATURE_FILE, MANIFEST_FILE, "requirements.lock", "requirements.txt", "requirements.in")
# types of these packages are data to skops, but for trees, whose indexes it does not check
# See: https://skops.readthedocs.io/en/stable/persistence.html
_SKOPS_SAFE = ("builtins", "collections", "numpy", "scipy", "sklearn")
_SKOPS_UNCHECKED = "TreePredictor"
# functions of a module that loads and predicts by itself; the second is SageMaker's
_HANDLERS: Mapping[str, tuple[str, ...]] = {"model.py": ("load", "predict"), "inference.py": ("model_fn", "predict_fn")}


@dataclass(frozen=True, slots=True, kw_only=True)
class Recognised:
    """The model in a folder: its flavor, the file or folder to load, and what loading it may do."""

    flavor: Flavor
    entry: str
    takes: Takes
    trust: Trust
    trusted: tuple[str, ...] = ()


def recognised(folder: Path) -> Recognised:
    """Return what a folder's model is.

    Raises:
        ModelError: If there is no model, more than one, or one that cannot be served; the message says which and the fix.
    """
    for name, functions in _HANDLERS.items():
        for path in (folder / name, folder / "code" / name):
            if path.is_file():
                _check_functions(path, functions)
                return Recognised(flavor="handler", entry=_name(path, folder), takes="frame", trust="code")
    mlflow = sorted(path.parent for path in folder.rglob(_MLFLOW))
    if mlflow:
        entry = mlflow[0]
        return Recognised(flavor="mlflow", entry=_name(entry, folder), takes="frame", trust=_mlflow_trust(entry))
    files = [path for path in sorted(folder.iterdir()) if path.is_file() and path.name not in _BESIDE]
    found = [each for path in files if (each := _of_file(path)) is not None]
    if len(found) == 1:
        return found[0]
    if found:
        names = ", ".join(each.entry for each in found)
        raise ModelError(
            f"the folder must have one model, got {names}; leave one, or add model.py with load and predict"
        )
    weights = [path.name for path in files if path.suffix in _WEIGHTS]
    if weights:
        raise ModelError(
            f"{weights[0]} has weights without a network; export ONNX, or add model.py with load and predict"
        )
    names = ", ".join(path.name for path in files) or "no file"
    raise ModelError(
        f"the folder has no model that is known, got {names}; XGBoost, LightGBM, CatBoost, skops, an MLflow folder, a pickle, or "
        "model.py with load and predict are"
    )


def manifest_of(
    folder: Path, *, requirements_sha256: str, python: str, produced_by: str | None = None
) -> ModelManifest:
    """Return the manifest of the files that lie in a folder.

    Raises:
        ModelError: As `recognised` says, or for a link or device.
    """
    found = recognised(folder)
    return ModelManifest(
        flavor=found.flavor,
        entry=found.entry,
        takes=found.takes,
        trust=found.trust,
        trusted=found.trusted,
        files={name: hash_of(path) for name, path in _files(folder)},
        requirements_sha256=requirements_sha256,
        python=python,
        produced_by=produced_by,
    )


def write_manifest(folder: Path, manifest: ModelManifest) -> str:
    """Write a manifest into its folder, and return the hash by which the model is registered."""
    content = canonical_json(manifest)
    (folder / MANIFEST_FILE).write_bytes(content)
    return hashlib.sha256(content).hexdigest()


def checked_manifest(folder: Path, *, expected_sha256: str | None) -> tuple[ModelManifest, str]:
    """Return the manifest of a folder that holds exactly what it says, and its hash.

    Raises:
        ModelError: With each file that is missing, changed, or not in the manifest, or if the manifest is another.
    """
    try:
        content = (folder / MANIFEST_FILE).read_bytes()
        manifest = from_json(ModelManifest, content)
    except OSError as error:
        raise ModelError(f"cannot read {folder / MANIFEST_FILE}: {error.strerror}") from error
    except ContractError as error:
        raise ModelError(f"{MANIFEST_FILE}: {error}") from error
    digest = hashlib.sha256(content).hexdigest()
    if expected_sha256 is not None and digest != expected_sha256.lower():
        raise ModelError(
            f"{MANIFEST_FILE} has SHA-256 {digest}, expected {expected_sha256}: not the model that was registered"
        )
    there = dict(_files(folder))
    problems = [f"{name} is missing" for name in manifest.files if name not in there]
    problems += [f"{name} is not in {MANIFEST_FILE}" for name in there if name not in manifest.files]
    for name in sorted(manifest.files.keys() & there.keys()):
        found = hash_of(there[name])
        if found != manifest.files[name]:
            problems.append(f"{name} has SHA-256 {found}, {MANIFEST_FILE} says {manifest.files[name]}")
    if SIGNATURE_FILE not in manifest.files:
        problems.append(f"{MANIFEST_FILE} does not list {SIGNATURE_FILE}")
    if problems:
        raise ModelError("; ".join(sorted(problems)))
    _check_claims(manifest, recognised(folder))
    return manifest, digest


def _check_claims(manifest: ModelManifest, found: Recognised) -> None:
    """Refuse a manifest that names another model than lies there, or less than its loading may do."""
    said = (manifest.flavor, manifest.entry)
    if said != (found.flavor, found.entry) or _TRUSTS.index(manifest.trust) < _TRUSTS.index(found.trust):
        raise ModelError(
            f"{MANIFEST_FILE} says that {manifest.entry} is loaded by {manifest.flavor} with trust {manifest.trust!r}, but "
            f"{found.entry} is loaded by {found.flavor} with trust {found.trust!r}; pack the folder again"
        )


def hash_of(path: Path) -> str:
    """Return the SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _files(folder: Path) -> Iterator[tuple[str, Path]]:
    for root, folders, names in os.walk(folder):
        for name in sorted([*names, *(each for each in folders if (Path(root) / each).is_symlink())]):
            path = Path(root) / name
            if path.is_symlink() or not path.is_file():
                raise ModelError(f"{_name(path, folder)} is a link or a device; a model consists of regular files")
            if _name(path, folder) != MANIFEST_FILE:
                yield _name(path, folder), path


def _name(path: Path, folder: Path) -> str:
    return str(PurePosixPath(path.relative_to(folder)))


def _of_file(path: Path) -> Recognised | None:
    with path.open("rb") as file:
        head = file.read(64)
    if head.startswith(b"{") and b"learner" in head:
        return Recognised(flavor="xgboost", entry=path.name, takes="matrix", trust="data")
    if head.startswith(b"tree\n"):
        return Recognised(flavor="lightgbm", entry=path.name, takes="matrix", trust="data")
    if head.startswith(b"CBM1"):
        return Recognised(flavor="catboost", entry=path.name, takes="frame", trust="data")
    if path.suffix == ".skops" and zipfile.is_zipfile(path):
        trusted = _skops_types(path)
        is_data = all(name.partition(".")[0] in _SKOPS_SAFE and _SKOPS_UNCHECKED not in name for name in trusted)
        trust: Trust = "data" if is_data else "pickle"
        return Recognised(flavor="skops", entry=path.name, takes="frame", trust=trust, trusted=trusted)
    if path.suffix in _PICKLES:
        return Recognised(flavor="pickle", entry=path.name, takes="frame", trust="pickle")
    return None


def _skops_types(path: Path) -> tuple[str, ...]:
    """Return the types that a skops file names, as ``module.class``."""
    try:
        with zipfile.ZipFile(path) as archive:
            schema = json.loads(archive.read("schema.json"))
    except (KeyError, ValueError, zipfile.BadZipFile) as error:
        raise ModelError(f"{path.name} is not a skops file: {error}") from error
    return tuple(sorted(set(_types(schema))))


def _types(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        module, kind = value.get("__module__"), value.get("__class__")
        if isinstance(module, str) and isinstance(kind, str):
            yield f"{module}.{kind}"
        for each in value.values():
            yield from _types(each)
    elif isinstance(value, list):
        for each in value:
            yield from _types(each)


def _mlflow_trust(folder: Path) -> Trust:
    files = [path for path in folder.rglob("*") if path.is_file()]
    if any(path.suffix in _PICKLES for path in files):
        return "pickle"
    found = [each for path in files if (each := _of_file(path)) is not None]
    if found and not any(path.suffix == ".py" for path in files):
        return "pickle" if any(each.trust == "pickle" for each in found) else "data"
    return "code"


def _check_functions(path: Path, functions: tuple[str, ...]) -> None:
    try:
        tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError) as error:
        raise ModelError(f"{path.name} is not Python: {error}") from error
    defined = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
    missing = [name for name in functions if name not in defined]
    if missing:
        raise ModelError(f"{path.name} must define {' and '.join(functions)}, {' and '.join(missing)} is missing")
