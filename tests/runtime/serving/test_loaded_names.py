"""The imports of loading a file, listed without loading it."""

import gzip
import json
import pickle
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
from tests.runtime.serving import model_folders

from mlops_runtime.serving.loaded_names import (
    UNREAD,
    PickleGlobals,
    archived_globals,
    container_globals,
    container_pickles,
    container_problems,
    pickle_globals,
    skops_types,
)
from mlops_runtime.serving.model_folder import checked_manifest
from mlops_runtime.serving.served_model import ModelError


class Runs:
    """Its pickle runs a command."""

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        """Return the call of unpickling."""
        return eval, ("1 + 1",)


def _joblib(value: Any, path: Path, **arguments: Any) -> None:
    joblib.dump(value, path, **arguments)


@pytest.mark.parametrize(
    "write",
    [
        lambda value, path: path.write_bytes(pickle.dumps(value, protocol=0)),
        lambda value, path: path.write_bytes(pickle.dumps(value, protocol=2)),
        lambda value, path: path.write_bytes(pickle.dumps(value)),
        lambda value, path: path.write_bytes(gzip.compress(pickle.dumps(value))),
        _joblib,
        lambda value, path: _joblib(value, path, compress=3),
        lambda value, path: _joblib(value, path, compress="xz"),
        lambda value, path: _joblib(value, path, compress="bz2"),
        lambda value, path: _joblib(value, path, compress="lzma"),
    ],
)
def test_globals_of_a_pickle_are_listed(tmp_path: Path, write: Callable[[Any, Path], None]) -> None:
    """Behind arrays of numbers, texts and objects too, in every common format."""
    path = tmp_path / "model.pkl"
    arrays = [np.arange(999.0), np.array(["a", "bc"]), np.array(["x", None], dtype=object), np.zeros(3, dtype="f4,i8")]
    write({"first": arrays, "last": Runs()}, path)
    found = pickle_globals(path)
    assert found.is_complete
    assert {"numpy.dtype", "numpy.ndarray"} <= set(found.names)
    assert {"builtins.eval", "__builtin__.eval"} & set(found.names)


@pytest.mark.parametrize("content", [b"", b"hello", b"\x80\x04\x95", b"\x1f\x8bnothing", b"\x80\x04h\x07."])
def test_a_file_that_cannot_be_read_to_its_end_says_so(tmp_path: Path, content: bytes) -> None:
    """Its list covers the readable part."""
    path = tmp_path / "model.pkl"
    path.write_bytes(content)
    assert pickle_globals(path) == PickleGlobals(names=(), is_complete=False)


def _skops(path: Path, *nodes: tuple[str, str, str]) -> Path:
    content = [{"__module__": module, "__class__": kind, "__loader__": loader} for module, kind, loader in nodes]
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("schema.json", json.dumps({"content": content}))
    return path


def test_classes_of_scikit_learn_are_data_and_functions_never(tmp_path: Path) -> None:
    """A name called anywhere in the file is excluded, as are trees, whose indexes skops does not check."""
    path = _skops(
        tmp_path / "model.skops",
        ("sklearn.linear_model._ridge", "Ridge", "ObjectNode"),
        ("sklearn._loss.loss", "HalfSquaredError", "ReduceNode"),
        ("sklearn.utils.validation", "check_array", "FunctionNode"),
        ("sklearn.datasets", "Fetch", "ObjectNode"),
        ("sklearn.datasets", "Fetch", "FunctionNode"),
        ("sklearn.ensemble._hist_gradient_boosting.predictor", "TreePredictor", "ObjectNode"),
        ("numpy", "load", "SGDNode"),
        ("my.package", "Model", "ObjectNode"),
    )
    assert skops_types(path) == ("sklearn._loss.loss.HalfSquaredError", "sklearn.linear_model._ridge.Ridge")


def test_the_type_of_an_array_is_data_where_an_array_has_it(tmp_path: Path) -> None:
    """An imputer stores that of its inputs; a file that creates the type otherwise is not trusted."""
    dtype = ("numpy", "dtype", "DTypeNode")
    imputer = ("sklearn.impute._base", "SimpleImputer", "ObjectNode")
    assert skops_types(_skops(tmp_path / "a.skops", imputer, dtype)) == (
        "numpy.dtype",
        "sklearn.impute._base.SimpleImputer",
    )
    other = ("numpy", "dtype", "ObjectNode")
    assert skops_types(_skops(tmp_path / "b.skops", imputer, dtype, other)) == ("sklearn.impute._base.SimpleImputer",)


def test_fails_for_what_is_no_skops_file(tmp_path: Path) -> None:
    """A zip archive without a schema."""
    with zipfile.ZipFile(tmp_path / "model.skops", "w") as archive:
        archive.writestr("other.json", "{}")
    with pytest.raises(ModelError, match=r"model\.skops is not a skops file"):
        skops_types(tmp_path / "model.skops")


def test_an_archive_of_a_pickle_says_what_it_names(tmp_path: Path) -> None:
    """An archive that is not unpickled lists nothing, even if it contains a pickle."""
    model_folders.estimator(tmp_path / "model")
    archive = model_folders.archive(tmp_path / "model", tmp_path / "model.tar.gz")
    manifest, _ = checked_manifest(tmp_path / "model", expected_sha256=None)
    found = archived_globals(archive, manifest)
    assert found is not None
    assert any(name.startswith("sklearn.") for name in found)
    assert UNREAD not in found
    assert archived_globals(archive, replace(manifest, trust="data")) is None
    (tmp_path / "broken").write_bytes(b"x")
    assert archived_globals(tmp_path / "broken", manifest) == (UNREAD,)


def test_pickles_of_a_container_are_found_by_their_names(tmp_path: Path) -> None:
    """In folders too; if the container unpickles, their names are listed; without an archive it is an error."""
    (tmp_path / "model" / "deep").mkdir(parents=True)
    (tmp_path / "model" / "deep" / "model.pkl").write_bytes(pickle.dumps(Runs()))
    archive = model_folders.archive(tmp_path / "model", tmp_path / "a.tar.gz")
    (problem,) = container_problems(archive, "code")
    assert problem.startswith("deep/model.pkl is a pickle, and the container is declared with trust 'code'")
    assert container_problems(archive, "pickle") == []
    assert container_globals(archive, "pickle") == ("builtins.eval",)
    assert container_globals(archive, "code") is None
    (tmp_path / "b.tar.gz").write_bytes(b"none")
    with pytest.raises(ModelError, match=r"cannot read b\.tar\.gz"):
        container_problems(tmp_path / "b.tar.gz", "data")


@pytest.mark.parametrize("protocol", range(2, 6))
def test_a_pickle_is_told_by_its_first_bytes(tmp_path: Path, protocol: int) -> None:
    """Under any name, and inside the zip of torch.save; a numpy array is none."""
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "a.bin").write_bytes(pickle.dumps(eval, protocol))
    with zipfile.ZipFile(folder / "b.pt", "w") as file:
        file.writestr("archive/data.pkl", pickle.dumps({}, protocol))
    np.save(folder / "c.npy", np.arange(3))
    (folder / "d").touch()
    assert container_pickles(model_folders.archive(folder, tmp_path / "model.tar.gz")) == ["a.bin", "b.pt"]
