"""A team's own model and data on the embedded cloud: a pickle without an export, in the environment of its lock."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import subprocess
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aws_cdk as cdk
import numpy as np
import pytest
from examples.own_model import stack as own_model
from examples.own_model.export import NOT_INPUTS, lay_down, visits
from examples.retail.loop import Loop
from tests.examples.executed_notebook import Notebook, kinds
from typer.testing import CliRunner

from mlops_cli.__main__ import app as command
from mlops_local import cloud as local_cloud
from mlops_local.model_environments import isolation
from mlops_local.stacks import deployer
from mlops_runtime.image.requirements_lock import RequirementsLock
from mlops_runtime.image.uv_program import MissingUvError, find_uv

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mlops_runtime.contracts.model_manifest import Trust

pytestmark = pytest.mark.cloud

ROOT = Path(__file__).resolve().parents[2]
LOCK = RequirementsLock.parsed((own_model.HERE / "requirements.lock").read_bytes())
# the same packages in another lock, as after an upgrade
NEXT = RequirementsLock.parsed(LOCK.content + b"# upgraded\n")


def synthesize(
    folder: Path,
    lock: RequirementsLock,
    *,
    trust: tuple[Trust, ...] = ("data", "code", "pickle"),
    instances: int = 1,
) -> Path:
    """Synthesize the example in the environment of a lock."""
    folder.mkdir()
    (folder / "requirements.lock").write_bytes(lock.content)
    app = cdk.App(outdir=str(folder / "assembly"))
    own_model.Clinic(app, "Clinic", lock=folder / "requirements.lock", trust=trust, instances=instances)
    app.synth()
    return folder / "assembly"


@dataclass(frozen=True, slots=True, kw_only=True)
class Clinic:
    """The deployed unit, and its first package."""

    cloud: local_cloud.Cloud
    loop: Loop
    package: dict[str, Any]
    verdict: dict[str, Any]


@pytest.fixture(scope="module")
def clinic(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Clinic]:
    """Deploy the unit, and train its first model."""
    try:
        find_uv()
    except MissingUvError as error:
        pytest.skip(str(error))
    folder = tmp_path_factory.mktemp("clinic")
    cloud = local_cloud.up(folder / "cloud", clock_scale=60.0)
    try:
        outputs = deployer.deploy(cloud, synthesize(folder / "first", LOCK))["Clinic"]
        loop = Loop(
            client=cloud.client,
            outputs=outputs,
            unit="clinic",
            now=lambda: datetime.fromisoformat(cloud.clock()["now"]),
        )
        lay_down(loop.s3, outputs["ArtifactsBucket"])
        arguments = ["train", "--reason", "the first model", "--json", "--home", str(cloud.home)]
        answer = CliRunner().invoke(command, arguments)
        assert answer.exit_code == 0, (answer.output, answer.exception)
        yield Clinic(cloud=cloud, loop=loop, package=loop.newest_package(), verdict=json.loads(answer.stdout))
    finally:
        local_cloud.connect(cloud.home).down(forget=True)


def test_a_script_that_knows_nothing_of_the_platform_is_registered(clinic: Clinic) -> None:
    """Trained with its own libraries, packed, evaluated and gated; the package names the permissions of loading it."""
    assert clinic.verdict["outcome"] == "REGISTERED", clinic.verdict
    assert clinic.verdict["package"] == clinic.package["ModelPackageArn"]
    metadata = clinic.package["CustomerMetadataProperties"]
    assert (metadata["flavor"], metadata["trust"]) == ("pickle", "pickle")
    (container,) = clinic.package["InferenceSpecification"]["Containers"]
    assert container["Image"].endswith(f"/mlops-model@sha256:{LOCK.sha256}")
    evaluation = clinic.loop.evaluation_of(clinic.package)
    assert any(name.startswith("sklearn.") for name in evaluation.pickled or ())
    assert evaluation.metrics["candidate"] < evaluation.metrics["mean"] * 0.9


def test_its_environment_is_below_the_clouds_home(clinic: Clinic) -> None:
    """Built from the lock, with its own wheels; the status reports it."""
    status = clinic.cloud.status()["model_processes"]
    assert status["environments"] == [LOCK.sha256]
    assert (status["network"] == "none") == (isolation() is not None)
    python = clinic.cloud.home / "environments" / LOCK.sha256 / "bin" / "python"
    code = "import sklearn, importlib.util; print(sklearn.__version__, importlib.util.find_spec('mlops_runtime'))"
    found = subprocess.run([str(python), "-I", "-c", code], capture_output=True, text=True, check=True).stdout
    assert f"scikit-learn=={found.split()[0]}" in LOCK.content.decode()
    assert found.split()[1] == "None"


def test_an_approved_pickle_serves(clinic: Clinic) -> None:
    """Served by its own process behind the endpoint, from raw rows; unknown categories and nulls are no error."""
    seen = {each["executionArn"] for each in clinic.loop.executions("DeployMachineArn")}
    clinic.loop.approve(clinic.package["ModelPackageArn"], "beats the mean")
    ended = clinic.loop.wait_execution("DeployMachineArn", seen, appear=60, finish=300)
    assert ended["status"] == "SUCCEEDED", ended.get("cause")
    _, holdout = visits()
    inputs = holdout.drop(columns=list(NOT_INPUTS))
    rows = json.loads(inputs.to_json(orient="records"))
    rows[0]["clinic"] = "clinic-99"
    answer = clinic.cloud.client("sagemaker-runtime").invoke_endpoint(
        EndpointName=clinic.loop.endpoint, ContentType="application/json", Body=json.dumps({"instances": rows})
    )
    assert answer["CustomAttributes"] == f"model={clinic.package['CustomerMetadataProperties']['model_sha256'][:12]}"
    predictions = np.array(json.loads(answer["Body"].read())["predictions"])
    error = np.abs(predictions - holdout["progression"].to_numpy())
    assert error.mean() == pytest.approx(clinic.loop.evaluation_of(clinic.package).metrics["candidate"], rel=0.02)
    sent = json.loads((own_model.HERE / "request.json").read_text())  # the page's request
    assert sent == {"instances": json.loads(inputs[:2].to_json(orient="records"))}
    live = clinic.loop.live()
    assert live is not None
    assert live.model_package_arn == clinic.package["ModelPackageArn"]


def test_the_notebook_of_the_page_runs(clinic: Clinic, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs each cell on this unit; outputs have the kinds that the page shows, and the report the notebook's calls."""
    for name in ("AWS_PROFILE", "AWS_DEFAULT_PROFILE", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MLOPS_LOCAL_HOME", str(clinic.cloud.home))
    # the monitor runs at 6:15 a.m.: at any time of day the notebook's jump of 25 hours must pass that time once
    now = datetime.fromisoformat(clinic.cloud.clock()["now"]).astimezone(UTC)
    clinic.cloud.clock_jump(to=now.replace(hour=8) + timedelta(days=1))
    notebook = Notebook(ROOT / "docs" / "client.ipynb")
    found = notebook.run()
    if os.environ.get("MLOPS_UPDATE_NOTEBOOK"):
        notebook.write(found)
    assert [kinds(outputs) for outputs in found] == [kinds(cell["outputs"]) for cell in notebook.cells]
    report = found[-1][0]["data"]["text/plain"][0]
    assert re.search(r"monitor: drift  state: OK .* rows: 222", report), report


def _seen(clinic: Clinic) -> dict[str, Any]:
    """Return the verbs' output for a unit and its cloud, without values that change at a start: processes and times."""
    home = ["--json", "--home", str(clinic.cloud.home)]
    seen = {}
    for verb in (["status"], ["models", "list"], ["runs", "list"], ["local", "status"]):
        answer = CliRunner().invoke(command, [*verb, *home])
        assert answer.exit_code == 0, (verb, answer.output)
        seen[" ".join(verb)] = json.loads(answer.stdout)
    del seen["status"]["now"]
    for name in ("pid", "started", "processes", "clock"):
        del seen["local status"][name]
    return {**seen, "audit": [dataclasses.asdict(record) for record in clinic.loop.audit()]}


def _predictions(clinic: Clinic) -> list[float]:
    rows = json.loads((own_model.HERE / "request.json").read_text())
    answer = clinic.cloud.client("sagemaker-runtime").invoke_endpoint(
        EndpointName=clinic.loop.endpoint, ContentType="application/json", Body=json.dumps(rows)
    )
    return list(json.loads(answer["Body"].read())["predictions"])


def test_a_stop_and_a_start_change_nothing(clinic: Clinic, tmp_path: Path) -> None:
    """Verbs, predictions, ciphertext and clock stay; deploying the same stack again has no changes.

    The following tests retrain and deploy on the restored state.
    """
    for machine in ("RetrainMachineArn", "DeployMachineArn"):
        clinic.loop.wait_idle(machine)
    kms, before, predictions = clinic.cloud.client("kms"), _seen(clinic), _predictions(clinic)
    key = kms.list_keys()["Keys"][0]["KeyId"]
    ciphertext = kms.encrypt(KeyId=key, Plaintext=b"before")["CiphertextBlob"]
    now = clinic.cloud.clock()["epoch"]
    clinic.cloud.down()

    cloud = local_cloud.up(clinic.cloud.home)
    assert 0 < cloud.clock()["epoch"] - now < 3600
    assert cloud.clock()["scale"] == 60
    assert _seen(clinic) == before
    assert _predictions(clinic) == predictions
    assert kms.decrypt(CiphertextBlob=ciphertext)["Plaintext"] == b"before"
    events = cloud.client("cloudformation").describe_stack_events(StackName="Clinic")["StackEvents"][0]["EventId"]
    deployer.deploy(cloud, synthesize(tmp_path / "same", LOCK))
    again = cloud.client("cloudformation").describe_stack_events(StackName="Clinic")["StackEvents"][0]["EventId"]
    assert again == events


def test_a_champion_of_another_lock_predicts_in_its_own_environment(clinic: Clinic, tmp_path: Path) -> None:
    """The stack names another lock; the champion's predictions are reused for the next candidate."""
    deployer.deploy(clinic.cloud, synthesize(tmp_path / "next", NEXT))
    loop = clinic.loop
    loop.wait_idle("DeployMachineArn")
    seen = {each["executionArn"] for each in loop.executions("RetrainMachineArn")}
    loop.request_retraining("other versions", "second")
    ended = loop.wait_execution("RetrainMachineArn", seen, appear=60, finish=400)
    assert json.loads(ended.get("output") or "{}").get("outcome") == "REGISTERED", ended
    package = loop.newest_package()
    (container,) = package["InferenceSpecification"]["Containers"]
    assert container["Image"].endswith(f"@sha256:{NEXT.sha256}")
    metrics = loop.evaluation_of(package).metrics
    assert metrics["champion"] == pytest.approx(metrics["candidate"])
    kept = loop.s3.list_objects_v2(Bucket=loop.outputs["ArtifactsBucket"], Prefix="predictions/clinic-progress/")
    champion = clinic.package["CustomerMetadataProperties"]["model_sha256"]
    assert [champion in each["Key"] for each in kept["Contents"]] == [True]
    assert set(clinic.cloud.status()["model_processes"]["environments"]) == {LOCK.sha256, NEXT.sha256}


def test_a_registry_that_forbids_the_live_model_leaves_it(clinic: Clinic, tmp_path: Path) -> None:
    """The next deployment is rejected with the fix, and the serving pickle keeps answering."""
    live, seen = clinic.loop.live(), {each["executionArn"] for each in clinic.loop.executions("DeployMachineArn")}
    deployer.deploy(clinic.cloud, synthesize(tmp_path / "strict", NEXT, trust=("data", "code"), instances=2))
    clinic.loop.wait_execution("DeployMachineArn", seen, appear=60, finish=120, error="REFUSED")
    record = clinic.loop.audit()[-1]
    assert record.outcome.value == "REFUSED"
    assert (
        "the model is loaded by pickle with trust 'pickle', the registry allows data, code; register" in record.reason
    )
    assert record.reason.endswith("and deploy the stack; the live version stays")
    assert clinic.loop.live() == live
    _, holdout = visits()
    rows = json.loads(holdout[:2].drop(columns=list(NOT_INPUTS)).to_json(orient="records"))
    answer = clinic.cloud.client("sagemaker-runtime").invoke_endpoint(
        EndpointName=clinic.loop.endpoint, ContentType="application/json", Body=json.dumps({"instances": rows})
    )
    assert len(json.loads(answer["Body"].read())["predictions"]) == 2
