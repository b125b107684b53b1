"""``mlops unit create``: writes the stack of a new team's unit once, and the stack deploys unchanged."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from mlops_cli.__main__ import app
from mlops_cli.aws_account import UserError
from mlops_local.stacks import deployer

DEFAULTS = '''"""The platform's package."""

import aws_cdk as cdk
from mlops_constructs import PlatformDefaults

RETAIL = PlatformDefaults(
    name="retail",
    organization_id="o-a1b2c3d4e5",
    tags={"platform": "retail"},
    required_tags=("mlops:owner", "data-class"),
    regions=("eu-west-1",),
    log_retention=cdk.Duration.days(400),
)
'''
OPTIONS = {
    "--owner": "vended-team@example.com",
    "--cost-center": "4711",
    "--place": "222222222222/eu-west-1",
    "--defaults": "retail_platform:RETAIL",
    "--project": "retail/vended",
    "--unit-tag": "data-class=internal",
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The platform team's repository, with its package."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "retail_platform.py").write_text(DEFAULTS)
    return tmp_path


def _create(name: str, *flags: str, **changes: str) -> Any:
    options = {**OPTIONS, **{f"--{key.replace('_', '-')}": value for key, value in changes.items()}}
    arguments = [each for pair in options.items() for each in pair]
    return CliRunner().invoke(app, ["unit", "create", name, *arguments, *flags])


def _synthesize(folder: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "CDK_OUTDIR": str(folder / "cdk.out"), "CDK_VALIDATION": "false"}
    return subprocess.run(
        [sys.executable, "app.py"], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


@pytest.fixture
def deployed(cloud: Any, folder: Path) -> Iterator[Callable[[], Any]]:
    """Deploy the written stack into its account, and destroy it at the end."""
    place = cloud.at("222222222222", "eu-west-1")

    def deploy() -> Any:
        made = _synthesize(folder)
        assert made.returncode == 0, made.stderr[-2000:]
        deployer.deploy(cloud, folder / "cdk.out")
        return place

    yield deploy
    if (folder / "cdk.out").is_dir():
        deployer.destroy(cloud, folder / "cdk.out")


def test_a_new_teams_unit_is_deployed_as_it_was_written(folder: Path, deployed: Callable[[], Any]) -> None:
    """Has owner, cost center, tags and roles, in its own account; its entry names the platform."""
    result = _create("vended", "--development", "--json")
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    place = deployed()
    entry = json.loads(place.client("ssm").get_parameter(Name="/mlops/vended/unit")["Parameter"]["Value"])
    (stack,) = place.client("cloudformation").describe_stacks(StackName="VendedUnit")["Stacks"]
    outputs = {each["OutputKey"] for each in stack["Outputs"]}
    tags = place.client("s3").get_bucket_tagging(Bucket=entry["artifacts_bucket"])["TagSet"]

    assert document["files"] == ["app.py", "cdk.json", "units/__init__.py", "units/vended.py"]
    assert document["stack"] == "VendedUnit"
    assert (entry["owner"], entry["cost_center"], entry["platform"]) == ("vended-team@example.com", "4711", "retail")
    assert {"DeployRole", "PlanRole", "SubjectComponents"} <= outputs
    assert {"platform": "retail", "data-class": "internal"}.items() <= {e["Key"]: e["Value"] for e in tags}.items()


def test_a_second_unit_touches_no_file_that_exists(folder: Path) -> None:
    """The app discovers every module in the folder."""
    assert _create("vended", "--development").exit_code == 0
    (folder / "app.py").write_text((folder / "app.py").read_text() + "# ours\n")
    before = {each: each.read_bytes() for each in folder.rglob("*") if each.is_file()}
    result = _create("other-team", project="retail/other")
    made = _synthesize(folder)

    assert result.exit_code == 0, result.output
    assert "kept app.py, cdk.json, units/__init__.py" in result.stdout
    assert "defaults=RETAIL)" in result.stdout
    assert {each: each.read_bytes() for each in before} == before
    assert made.returncode == 0, made.stderr[-2000:]
    assert {"VendedUnit.template.json", "OtherTeamUnit.template.json"} <= {
        each.name for each in (folder / "cdk.out").iterdir()
    }


def test_a_unit_that_exists_is_kept(folder: Path) -> None:
    """People edit it from then on."""
    assert _create("vended").exit_code == 0
    before = (folder / "units" / "vended.py").read_bytes()
    result = _create("vended", owner="another-team")

    assert isinstance(result.exception, UserError)
    assert "units/vended.py already exists" in str(result.exception)
    assert (folder / "units" / "vended.py").read_bytes() == before


def test_fails_where_a_file_has_the_name_of_the_units_folder(folder: Path) -> None:
    """The command reports such errors in one line, since they name the file."""
    (folder / "units").write_text("mine")
    done = _create("vended")
    assert isinstance(done.exception, OSError)
    assert (done.exception.filename, (folder / "units").read_text()) == ("units", "mine")


def test_every_bad_value_is_named_and_nothing_is_written(folder: Path) -> None:
    """Reports all before any folder is created; no value becomes Python code."""
    result = _create(
        "Vended",
        owner='a"+x',
        cost_center="",
        place="12/Ireland",
        defaults="retail platform:class",
        project="vended",
        unit_tag="nothing",
    )
    message = str(result.exception)

    assert isinstance(result.exception, UserError)
    for part in (
        "NAME must be 2 to 20",
        "--owner must be 1 to 256",
        "--cost-center must be 1 to 256",
        "account of --place must be 12 digits, got '12'",
        "Region of --place must be a Region such as 'eu-west-1', got 'Ireland'",
        "--project must be a path such as 'retail/demand'",
        "--defaults must be module:NAME",
        "--unit-tag must be KEY=VALUE, got 'nothing'",
    ):
        assert part in message
    assert [each.name for each in folder.iterdir()] == ["retail_platform.py"]


@pytest.mark.parametrize(
    ("name", "changes", "found"),
    [
        ("class", {}, "NAME must not be a Python keyword or standard module"),
        ("json", {}, "NAME must not be a Python keyword or standard module"),
        ("vended", {"unit_tag": "mlops:owner=x"}, "--unit-tag must not name 'mlops:owner'"),
        ("vended", {"unit_tag": 'a"b=x'}, "--unit-tag must have a key"),
        ("vended", {"defaults": "retail_platform"}, "--defaults must be module:NAME"),
    ],
)
def test_names_that_python_or_the_unit_has_are_refused(
    folder: Path, name: str, changes: dict[str, str], found: str
) -> None:
    """The error has the name."""
    result = _create(name, **changes)

    assert found in str(result.exception)
    assert not (folder / "units").exists()


def test_a_unit_that_loosens_the_platform_ends_in_one_line(folder: Path) -> None:
    """The written app fails with the message, without a traceback."""
    assert _create("vended", place="222222222222/us-east-1").exit_code == 0
    made = _synthesize(folder)

    assert made.returncode == 1
    assert "Traceback" not in made.stderr
    assert "regions of platform 'retail': 'eu-west-1', got 'us-east-1'" in made.stderr
