"""``mlops api schema``: writes the request schema once, then compares it."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from mlops_runtime.contracts import canonical_json
from mlops_runtime.contracts.model import ModelSignature, SignatureColumn

Run = Callable[..., subprocess.CompletedProcess[str]]
PRICE = SignatureColumn(name="price", type="number")
STOCK = SignatureColumn(name="stock", type="number")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def signature(folder: Path, *columns: SignatureColumn, name: str = "signature.json") -> Path:
    """Write the signature of a model with columns."""
    path = folder / name
    path.write_bytes(canonical_json(ModelSignature(inputs=columns, output="units")))
    return path


def test_a_schema_is_written_from_a_signature(in_process: Run, folder: Path) -> None:
    """A draft-04 validator accepts the schema, which accepts the model's input."""
    result = in_process("api", "schema", signature(folder, PRICE), "--output", "forecast.schema.json")

    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout == "wrote forecast.schema.json; commit it, and pass it to InferenceApi.add_model\n"
    written: dict[str, Any] = json.loads((folder / "forecast.schema.json").read_text())
    jsonschema.Draft4Validator(written).validate({"instances": [{"price": 1.5}, [2]]})


def test_options_bound_rows_and_forms(in_process: Run, folder: Path) -> None:
    """Limits rows per request, and excludes arrays."""
    in_process("api", "schema", signature(folder, PRICE), "--max-rows", "1", "--objects-only")

    schema = json.loads((folder / "request.schema.json").read_text())
    valid = jsonschema.Draft4Validator(schema).is_valid
    assert valid({"instances": [{"price": 1}]})
    assert not valid({"instances": [{"price": 1}, {"price": 2}]})
    assert not valid({"instances": [[1]]})


def test_a_schema_that_exists_is_compared_and_kept(in_process: Run, folder: Path) -> None:
    """A later signature never changes a published schema."""
    path = signature(folder, PRICE)
    in_process("api", "schema", path)
    before = (folder / "request.schema.json").read_bytes()

    same = in_process("api", "schema", path, "--json")
    wider = in_process("api", "schema", signature(folder, PRICE, STOCK, name="new.json"), "--json")

    assert (same.returncode, wider.returncode) == (0, 3)
    assert json.loads(same.stdout) == {"file": "request.schema.json", "is_new": False, "problems": []}
    assert json.loads(wider.stdout)["problems"] == [
        "request.schema.json does not require column 'stock', which the model needs; publish v2",
        "request.schema.json allows rows as arrays of 1 values, the model takes 2; publish v2",
    ]
    assert (folder / "request.schema.json").read_bytes() == before


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot read signature.json: No such file or directory; give the signature.json of a model"),
        ("{", "signature.json: not JSON"),
        ('{"inputs": [], "output": "y"}', "signature.json: signature.json declares no columns"),
    ],
)
def test_a_file_that_is_no_signature_is_refused(
    content: str | None, message: str, in_process: Run, folder: Path
) -> None:
    """Writes nothing."""
    if content is not None:
        (folder / "signature.json").write_text(content)

    result = in_process("api", "schema", "signature.json")

    assert result.returncode == 1
    assert result.stderr.startswith(f"mlops: {message}")
    assert not (folder / "request.schema.json").exists()


def test_what_exists_and_is_no_promise_is_refused(in_process: Run, folder: Path) -> None:
    """Rejects a missing folder too."""
    path = signature(folder, PRICE)
    (folder / "other.json").write_text("{}")

    other = in_process("api", "schema", path, "--output", "other.json")
    nowhere = in_process("api", "schema", path, "--output", "none/request.schema.json")

    assert other.returncode == nowhere.returncode == 1
    assert other.stderr.startswith(
        "mlops: other.json is not a promise of requests as written by mlops api schema: $schema"
    )
    assert "cannot use none/request.schema.json: No such file or directory" in nowhere.stderr


APP = """
import aws_cdk as cdk
from examples.pages.inference_api import Forecasts
from mlops_constructs import ModelImage, Network, Profile

app = cdk.App()
network = Network.from_shared_vpc(vpc_id="vpc-1", availability_zones=["a", "b"], subnet_ids=["s-1", "s-2"])
image = ModelImage.from_ecr(repository_name="mlops-runtime", digest="sha256:" + "1" * 64)
Forecasts(app, "Forecasts", profile=Profile.DEVELOPMENT, image=image, network=network)
app.synth()
"""
ROOT = Path(__file__).resolve().parents[2]


def test_an_api_is_exported_from_its_app(
    in_process: Run, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exports the paths of the stack; a unit without an API is reported with those that have one."""
    (tmp_path / "app.py").write_text(APP)
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    command = f"{sys.executable} {tmp_path / 'app.py'}"

    made = in_process("api", "export", "--app", command, "--output", tmp_path / "openapi.json", "--json")
    other = in_process("api", "export", "pricing", "--app", command, "--output", tmp_path / "none.json")

    assert made.returncode == 0, made.stderr
    assert json.loads(made.stdout)["paths"] == ["/v1/models/forecast", "/v1/models/forecast/predictions"]
    document = json.loads((tmp_path / "openapi.json").read_text())
    assert document["info"]["title"] == "Models of forecasts"
    assert other.stderr == "mlops: the app has no InferenceApi of unit 'pricing'; it has APIs of: forecasts\n"
    assert not (tmp_path / "none.json").exists()
