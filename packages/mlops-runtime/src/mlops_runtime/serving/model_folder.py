"""Recognise the flavor of a model's folder, and verify it against its manifest.

Nothing is loaded here. Flavors are recognised by the bytes of a file, not by the names in a script.
"""

import ast
import hashlib
import os
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import get_args

from mlops_runtime.contracts import ContractError, canonical_json, from_json
from mlops_runtime.contracts.model_manifest import Flavor, ModelManifest, Takes, Trust
from mlops_runtime.serving.loaded_names import PICKLES, is_data, skops_types
from mlops_runtime.serving.mlflow_folder import mlflow_entry, needed_trust
from mlops_runtime.serving.served_model import SIGNATURE_FILE, ModelError

MANIFEST_FILE = "mlops-model.json"
TRUSTED_FILE = "trusted-types.txt"
_TRUSTS = get_args(Trust)  # in ascending order
_WEIGHTS = (".pt", ".pth", ".safetensors")
_BESIDE = (SIGNATURE_FILE, MANIFEST_FILE, "requirements.lock", "requirements.txt", "requirements.in", TRUSTED_FILE)
_HEAD_BYTES = 4 * 1024**2
_XGBOOST_CATEGORY = (b'"c"', b"L\0\0\0\0\0\0\0\1c")  # a feature's type, in JSON and in UBJSON
_LIGHTGBM_CATEGORIES = b"\npandas_categorical:[["
# required functions of a module that loads and predicts; the second is SageMaker's
_HANDLERS: Mapping[str, tuple[str, ...]] = {"model.py": ("load", "predict"), "inference.py": ("model_fn", "predict_fn")}
_READS_REQUESTS = ("input_fn", "output_fn", "transform_fn")


@dataclass(frozen=True, slots=True, kw_only=True)
class Recognised:
    """The model in a folder: its flavor, the file or folder to load, its input and the trust that loading requires."""

    flavor: Flavor
    entry: str
    takes: Takes
    trust: Trust
    trusted: tuple[str, ...] = ()


def recognised(folder: Path) -> Recognised:
    """Recognise the model in a folder.

    Raises:
        ModelError: If there is no model, more than one, or an unsupported one; the message names it and the fix.
    """
    for name, functions in _HANDLERS.items():
        for path in (folder / name, folder / "code" / name):
            if path.is_file():
                _check_functions(path, functions)
                return Recognised(flavor="handler", entry=_name(path, folder), takes="frame", trust="code")
    mlflow = mlflow_entry(folder)
    if mlflow is not None:
        return _with_declared(_mlflow(mlflow, folder), folder)
    files = [path for path in sorted(folder.iterdir()) if path.is_file() and path.name not in _BESIDE]
    found = [each for path in files if (each := _of_file(path)) is not None]
    if len(found) == 1:
        return _with_declared(found[0], folder) if found[0].flavor == "skops" else found[0]
    if found:
        names = ", ".join(each.entry for each in found)
        raise ModelError(
            f"the folder must have one model, got {names}; keep one, or add model.py with load and predict"
        )
    weights = [path.name for path in files if path.suffix in _WEIGHTS]
    if weights:
        raise ModelError(
            f"{weights[0]} has weights without a network; export ONNX, or add model.py with load and predict"
        )
    names = ", ".join(path.name for path in files) or "no file"
    raise ModelError(
        f"the folder must have a model of XGBoost, LightGBM, CatBoost, skops, an MLflow folder, a pickle, or model.py with load "
        f"and predict; got {names}"
    )


def manifest_of(
    folder: Path, *, requirements_sha256: str, python: str, produced_by: str | None = None
) -> ModelManifest:
    """Create the manifest of the files in a folder.

    Raises:
        ModelError: As in `recognised`, or for a link or device.
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
    """Write a manifest to its folder, and return its hash, by which the model is registered."""
    content = canonical_json(manifest)
    (folder / MANIFEST_FILE).write_bytes(content)
    return hashlib.sha256(content).hexdigest()


def checked_manifest(folder: Path, *, expected_sha256: str | None) -> tuple[ModelManifest, str]:
    """Return the manifest of a folder and its hash, after verifying every file.

    Raises:
        ModelError: With each file that is missing, changed, or not in the manifest, or if the manifest is not the expected one.
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
        raise ModelError(f"{MANIFEST_FILE} has SHA-256 {digest}, expected {expected_sha256}: not the registered model")
    there = dict(_files(folder))
    problems = [f"{name} is missing" for name in manifest.files if name not in there]
    problems += [f"{name} is not in {MANIFEST_FILE}" for name in there if name not in manifest.files]
    for name in sorted(manifest.files.keys() & there.keys()):
        found = hash_of(there[name])
        if found != manifest.files[name]:
            problems.append(f"{name} has SHA-256 {found}, {MANIFEST_FILE} has {manifest.files[name]}")
    if SIGNATURE_FILE not in manifest.files:
        problems.append(f"{MANIFEST_FILE} does not list {SIGNATURE_FILE}")
    if problems:
        raise ModelError("; ".join(sorted(problems)))
    _check_claims(manifest, recognised(folder))
    return manifest, digest


def _check_claims(manifest: ModelManifest, found: Recognised) -> None:
    """Raise if the manifest names another model than the folder contains, or a lower trust than loading requires."""
    claimed = (manifest.flavor, manifest.entry)
    if claimed != (found.flavor, found.entry) or _TRUSTS.index(manifest.trust) < _TRUSTS.index(found.trust):
        raise ModelError(
            f"{MANIFEST_FILE} declares that {manifest.entry} is loaded by {manifest.flavor} with trust {manifest.trust!r}, but "
            f"{found.entry} is loaded by {found.flavor} with trust {found.trust!r}; pack the folder again"
        )
    beyond = sorted(set(manifest.trusted) - set(found.trusted))
    if beyond:
        raise ModelError(
            f"{MANIFEST_FILE} trusts types that {TRUSTED_FILE} does not name: {', '.join(beyond)}; pack the folder again"
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
        head = file.read(_HEAD_BYTES)
    if head.startswith(b"{") and b"learner" in head[:64]:
        types = head.partition(b"feature_types")[2].partition(b"gradient_booster")[0]
        takes: Takes = "frame" if any(each in types for each in _XGBOOST_CATEGORY) else "matrix"
        return Recognised(flavor="xgboost", entry=path.name, takes=takes, trust="data")
    if head.startswith(b"tree\n"):
        takes = "frame" if _LIGHTGBM_CATEGORIES in _tail(path) else "matrix"
        return Recognised(flavor="lightgbm", entry=path.name, takes=takes, trust="data")
    if head.startswith(b"CBM1"):
        return Recognised(flavor="catboost", entry=path.name, takes="frame", trust="data")
    if path.suffix == ".skops" and zipfile.is_zipfile(path):
        return Recognised(flavor="skops", entry=path.name, takes="frame", trust="data", trusted=skops_types(path))
    if path.suffix in PICKLES:
        return Recognised(flavor="pickle", entry=path.name, takes="frame", trust="pickle")
    return None


def _tail(path: Path) -> bytes:
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - _HEAD_BYTES))
        return file.read()


def _with_declared(found: Recognised, folder: Path) -> Recognised:
    """Add the types that the team trusts; types other than data raise the trust to that of a pickle."""
    path = folder / TRUSTED_FILE
    if not path.is_file():
        return found
    declared = sorted({line.strip() for line in path.read_text("utf-8", "replace").splitlines()} - {""})
    trust: Trust = found.trust if all(map(is_data, declared)) else "pickle"
    return replace(found, trust=trust, trusted=tuple(sorted({*found.trusted, *declared})))


def _mlflow(entry: Path, folder: Path) -> Recognised:
    files = [path for path in sorted(entry.rglob("*")) if path.is_file()]
    found = [each for path in files if (each := _of_file(path)) is not None]
    trust = needed_trust(
        entry,
        has_pickles=any(each.trust == "pickle" for each in found),
        has_scripts=any(path.suffix == ".py" for path in files),
        has_data=any(each.trust == "data" for each in found),
    )
    trusted = {name for each in found for name in each.trusted}
    return Recognised(
        flavor="mlflow", entry=_name(entry, folder), takes="frame", trust=trust, trusted=tuple(sorted(trusted))
    )


def _check_functions(path: Path, functions: tuple[str, ...]) -> None:
    try:
        tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError) as error:
        raise ModelError(f"{path.name} is not Python: {error}") from error
    defined = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
    missing = [name for name in functions if name not in defined]
    if missing:
        raise ModelError(f"{path.name} must define {' and '.join(functions)}, {' and '.join(missing)} is missing")
    refused = [name for name in _READS_REQUESTS if name in defined and path.name == "inference.py"]
    if refused:
        raise ModelError(
            f"{path.name} defines {' and '.join(refused)}, which would never run: the server parses requests and formats "
            "responses, and predict_fn gets a pandas frame; remove them"
        )
