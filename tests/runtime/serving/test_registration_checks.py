"""Checks of a model made elsewhere before its upload; ``tests/cli/test_model_registration.py`` has more messages."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.runtime.serving import model_folders

from mlops_runtime.contracts import to_dict
from mlops_runtime.contracts.model import ModelSignature, SignatureColumn
from mlops_runtime.contracts.unit_entries import PipelineEntry
from mlops_runtime.inference_api.request_promise import read_promise, request_schema
from mlops_runtime.registry.package_approval import ApprovalRule, RegistryEntry
from mlops_runtime.serving.model_packing import PackedModel
from mlops_runtime.serving.registration_checks import UnfitModelError, registrable

ENTRY = PipelineEntry(
    pipeline="demand-forecast", unit="demand", group="g", retraining_table="t", retrain_machine="m", queue_url="q"
)
REGISTRY = RegistryEntry(group="g", unit="demand", rule=ApprovalRule())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return trees with a signature of price and store, and a lock."""
    made = tmp_path / "model"
    model_folders.trees(made)
    (made / "signature.json").write_text(json.dumps(to_dict(model_folders.SIGNATURE)))
    (made / "requirements.lock").write_text(model_folders.LOCK_TEXT)
    return made


def _checked(folder: Path, entry: PipelineEntry | None = None, **files: Any) -> PackedModel:
    lock = hashlib.sha256(model_folders.LOCK_TEXT.encode()).hexdigest()
    taken = replace(ENTRY, requirements_sha256=lock) if entry is None else entry
    return registrable(taken, REGISTRY, folder, folder.parent / "a.tar.gz", **files)


def _refused(folder: Path, entry: PipelineEntry | None = None, **files: Any) -> str:
    with pytest.raises(UnfitModelError) as caught:
        _checked(folder, entry, **files)
    return str(caught.value)


def test_a_model_that_fits_is_packed(folder: Path) -> None:
    """With the holdout of its comparison."""
    pq.write_table(pa.table({"price": [None, 2.0], "store": ["east", "north"]}), folder.parent / "holdout.parquet")
    assert _checked(folder, data=folder.parent / "holdout.parquet").flavor == "lightgbm"


def test_every_problem_is_said(folder: Path) -> None:
    """Of signature, lock, registry, pipeline and unreadable files, in one message."""
    (folder / "model.txt").unlink()
    (folder / "model.pkl").write_bytes(b"\x80\4.")
    document = to_dict(model_folders.SIGNATURE) | {"kind": "vector", "width": 2, "widht": 2}
    (folder / "signature.json").write_text(json.dumps(document))
    broken = folder.parent / "broken.parquet"
    broken.write_text("x")
    (folder / "requirements.lock").write_text("numpy==2.4.0 --hash=sha256:" + "0" * 64)
    entry = replace(ENTRY, metric="wape")
    reported = _refused(folder, entry, predictions=broken, data=broken, trust="pickle").split("; ")
    for beginning in (
        "signature.json: the file has no key 'widht' (did you mean 'width'?)",
        "requirements.lock lacks pandas",
        "the model is loaded by pickle with trust 'pickle', the registry allows data, code",
        "the image of demand-forecast runs only ONNX",
        "the model is of kind 'vector'",
    ):
        assert [part for part in reported if part.startswith(beginning)], reported
    assert sum("cannot be read as Parquet" in part for part in reported) == 2


def test_the_holdout_of_a_person_is_read_before(folder: Path) -> None:
    """Nulls by row and column, next to a column without categories."""
    document = to_dict(model_folders.SIGNATURE)
    document["inputs"][0]["nullable"] = False
    del document["inputs"][1]["categories"]
    (folder / "signature.json").write_text(json.dumps(document))
    holdout = folder.parent / "holdout.parquet"
    pq.write_table(pa.table({"price": [1.0, None, None], "store": ["east", "west", None]}), holdout)
    reported = _refused(folder, data=holdout)
    assert "signature.json: category column 'store' declares no categories" in reported
    assert (
        f"{holdout} has nulls where signature.json allows none: 'price' in 2 of 3 rows (1, 2 from 0); set" in reported
    )
    mine = folder.parent / "mine.parquet"
    pq.write_table(pa.table({"prediction": [1.0, 2.0]}), mine)
    assert f"{mine} has 2 predictions, {holdout} has 3 rows; provide one for each row" in _refused(
        folder, data=holdout, predictions=mine
    )
    entry = replace(ENTRY, container_trust="data")  # its own server decides on nulls
    document["inputs"][1]["categories"] = ["east"]
    (folder / "signature.json").write_text(json.dumps(document))
    assert registrable(entry, REGISTRY, folder, folder.parent / "c.tar.gz", data=holdout).flavor == "container"


def test_a_wrong_lock_is_named_with_the_right_one(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By file and package if it is in the working directory; otherwise by its source."""
    right = model_folders.LOCK_TEXT.replace("lightgbm==1.0.0", "lightgbm==2.0.0").encode()
    entry = replace(ENTRY, requirements_sha256=hashlib.sha256(right).hexdigest())
    monkeypatch.chdir(folder.parent)
    reported = _refused(folder, entry)
    assert reported.startswith("requirements.lock of model (SHA-256 ")
    assert f"no file below {folder.parent} is: pack the model with the lock that the pipeline's stack uses" in reported
    (folder.parent / "stacks").mkdir()
    (folder.parent / "stacks" / "image.lock").write_bytes(right)
    reported = _refused(folder, entry)
    assert reported.startswith(
        "requirements.lock of model is not the lock of the image of demand-forecast, which is stacks/image.lock: lightgbm 1.0.0 "
        "instead of 2.0.0; if the model loads there too, pack it with --requirements stacks/image.lock"
    )
    assert _checked(folder, entry, requirements=Path("stacks/image.lock")).flavor == "lightgbm"


def test_every_way_in_which_a_promise_breaks_is_said(folder: Path) -> None:
    """Together with the model's other problems; a compatible model is packed."""
    cost = ModelSignature(inputs=(SignatureColumn(name="cost", type="number"),), output="units")
    narrow, kept = (
        read_promise(json.dumps(request_schema(each)), "units.schema.json")[1]
        for each in (cost, model_folders.SIGNATURE)
    )

    reported = _refused(folder, ENTRY, promises=(narrow,))

    assert "units.schema.json allows column 'cost', which the model does not have; publish v2" in reported
    assert "units.schema.json allows rows as arrays of 1 values, the model takes 2; publish v2" in reported
    assert "runs only ONNX" in reported
    assert _checked(folder, promises=(kept,)).flavor == "lightgbm"
