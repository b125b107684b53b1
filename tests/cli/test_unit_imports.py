"""A unit of one repository, and stacks of two others that import it: every order of deployment and destruction."""

import itertools
import json
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import aws_cdk as cdk
import boto3
import pytest
from botocore.exceptions import ClientError
from botocore.stub import Stubber

from mlops_cli.unit_imports import MissingImport, missing_imports, remaining_imports
from mlops_constructs import BusinessUnit, Entity, Feature, FeatureGroup, FeatureStore, ModelRegistry, Profile
from mlops_local.cloud import Cloud
from mlops_local.stacks import deployer
from mlops_runtime.features.lock_file import write_lock

Run = Callable[..., subprocess.CompletedProcess[str]]
ROLES = ("owner", "left", "right")
COPY = "import os, shutil, sys; shutil.copytree(sys.argv[1], os.environ['CDK_OUTDIR'], dirs_exist_ok=True)"


class Repositories:
    """Three apps of different teams, and their stacks on the cloud."""

    def __init__(self, on_cloud: Run, cloud: Cloud, name: str, folder: Path) -> None:
        self.on_cloud, self.unit, self.folder = on_cloud, name.lower(), folder
        self.cloudformation, self.ssm = cloud.client("cloudformation"), cloud.client("ssm")
        self.stacks = {role: f"{name}{role.capitalize()}" for role in ROLES}
        (folder / "copy.py").write_text(COPY)
        for role, stack_name in self.stacks.items():
            app = cdk.App(outdir=str(folder / role))
            stack = cdk.Stack(app, stack_name)
            if role == "owner":
                BusinessUnit(stack, "Unit", name=self.unit, profile=Profile.DEVELOPMENT)
            else:
                unit = BusinessUnit.from_name(stack, "Unit", name=self.unit, profile=Profile.DEVELOPMENT)
                ModelRegistry(stack, "Registry", business_unit=unit, name=role)
            app.synth()

    def run(self, verb: str, role: str) -> subprocess.CompletedProcess[str]:
        """Plan, deploy or destroy the stack of a repository with the command."""
        yes = ["--yes"] if verb == "destroy" else []
        return self.on_cloud(verb, *yes, "--app", f"python {self.folder / 'copy.py'} {self.folder / role}")

    def state(self) -> dict[str, Any]:
        """Return all existing resources of the three, by stack: status, resources, and parameters of the unit."""
        found: dict[str, Any] = {}
        for page in self.cloudformation.get_paginator("describe_stacks").paginate():
            for stack in page["Stacks"]:
                name = stack["StackName"]
                if name not in self.stacks.values() or stack["StackStatus"] == "DELETE_COMPLETE":
                    continue
                pages = self.cloudformation.get_paginator("list_stack_resources").paginate(StackName=name)
                rows = [row for rows in pages for row in rows["StackResourceSummaries"]]
                found[name] = stack["StackStatus"], sorted((r["PhysicalResourceId"], r["ResourceStatus"]) for r in rows)
        pages = self.ssm.get_paginator("get_parameters_by_path").paginate(
            Path=f"/mlops-unit/{self.unit}", Recursive=True
        )
        found["parameters"] = sorted(each["Name"] for page in pages for each in page["Parameters"])
        return found

    def deployed(self) -> frozenset[str]:
        """Return the completely deployed stacks."""
        state = self.state()
        whole = {role for role, name in self.stacks.items() if name in state}
        for role in whole:
            status, rows = state[self.stacks[role]]
            assert status in ("CREATE_COMPLETE", "UPDATE_COMPLETE"), state
            assert all(row[1] in ("CREATE_COMPLETE", "UPDATE_COMPLETE") for row in rows), state
        return frozenset(whole)

    def forget(self) -> None:
        """Destroy the remaining stacks, importers first."""
        for role in reversed(ROLES):
            self.run("destroy", role)


State = frozenset[str]
Tried = dict[tuple[State, str, str], State]


@pytest.fixture
def repositories(on_cloud: Run, cloud: Cloud, unique_stack: str, tmp_path: Path) -> Iterator[Repositories]:
    """Three synthesized apps; nothing of them is left afterwards."""
    found = Repositories(on_cloud, cloud, unique_stack, tmp_path)
    try:
        yield found
    finally:
        found.forget()


def _try_rejected_changes(repositories: Repositories, tried: Tried) -> None:
    """Deploy importers without their owner, and destroy the owner first, by command and by CloudFormation: nothing changes."""
    here, before = repositories.deployed(), repositories.state()
    stacks, unit, cloudformation = repositories.stacks, repositories.unit, repositories.cloudformation
    for role in ROLES[1:]:
        if "owner" in here:
            continue
        imports = (
            f"refused: stack {stacks[role]} imports unit '{unit}', which is not deployed in this account and Region: deploy the "
            f'stack that defines BusinessUnit(..., name="{unit}") first'
        )
        for verb in ("plan", "deploy"):
            ended = repositories.run(verb, role)
            assert (ended.returncode, imports in ended.stderr) == (1, True), ended.stderr
        template = (repositories.folder / role / f"{stacks[role]}.template.json").read_text()
        with pytest.raises(ClientError, match=f"Unable to fetch parameters .*/mlops-unit/{unit}/"):
            cloudformation.create_change_set(
                StackName=stacks[role],
                ChangeSetName="stock",
                ChangeSetType="CREATE",
                Capabilities=["CAPABILITY_IAM"],
                TemplateBody=template,
            )
        tried[here, "deploy", role] = here
    importers = [stacks[role] for role in ROLES[1:] if role in here]
    if importers:
        ended = repositories.run("destroy", "owner")
        words = "imports: destroy it first" if len(importers) == 1 else "import: destroy them first"
        remain = f"refused: stack {stacks['owner']} has unit '{unit}', which {' and '.join(importers)} still {words}"
        assert (ended.returncode, remain in ended.stderr) == (1, True), ended.stderr
        cloudformation.delete_stack(StackName=stacks["owner"])
        (found,) = cloudformation.describe_stacks(StackName=stacks["owner"])["Stacks"]
        assert f"in use by {' and '.join(importers)}" in found["StackStatusReason"]
        tried[here, "destroy", "owner"] = here
    assert repositories.state() == before


@pytest.mark.cloud
def test_every_order_works_or_is_refused_by_name(repositories: Repositories) -> None:
    """Walks through every state and every transition; each order of deployments and destructions is a path of it."""
    walk = ["+owner", "+left", "+right", "-left", "-right", "+right", "+left", "-right", "-left", "-owner"]
    tried: Tried = {}
    _try_rejected_changes(repositories, tried)
    for number, step in enumerate(walk):
        verb, role, before = {"+": "deploy", "-": "destroy"}[step[0]], step[1:], repositories.deployed()
        if verb == "destroy" and number > len(walk) / 2:
            repositories.cloudformation.delete_stack(StackName=repositories.stacks[role])
            waiter = repositories.cloudformation.get_waiter("stack_delete_complete")
            waiter.wait(StackName=repositories.stacks[role], WaiterConfig={"Delay": 1})
        else:
            ended = repositories.run(verb, role)
            assert ended.returncode == 0, ended.stderr
        after = repositories.deployed()
        assert after == (before | {role} if verb == "deploy" else before - {role})
        is_new = not any(state == after for state, _, _ in tried)
        tried[before, verb, role] = after
        if is_new:
            _try_rejected_changes(repositories, tried)
    assert repositories.state() == {"parameters": []}

    for deployments, destructions in itertools.product(itertools.permutations(ROLES), repeat=2):
        state: State = frozenset()
        for verb, order, end in (("deploy", deployments, frozenset(ROLES)), ("destroy", destructions, frozenset())):
            # the team repeats a rejected step, in the same order
            for role in (*order, *order, *order):
                if (role in state) is not (verb == "deploy"):
                    state = tried[state, verb, role]
            assert state == end


@pytest.fixture
def parts(cloud: Cloud, unique_stack: str, tmp_path: Path) -> Iterator[dict[str, Path]]:
    """A unit, a stack that adds a store and a registry to it, and one that imports these and a registry of the unit's stack."""
    name, lock = unique_stack.lower(), tmp_path / "features.lock.json"
    features = (Feature("on_hand", "long", "units on hand"),)
    group = FeatureGroup(
        name="stock",
        entities=(Entity("store", "string", "store"),),
        features=features,
        owner="ann",
        description="stock",
    )
    write_lock([group], lock)
    apps: dict[str, cdk.App] = {role: cdk.App(outdir=str(tmp_path / role)) for role in ("owner", "adds", "imports")}
    owner, adds, imports = (cdk.Stack(app, f"{unique_stack}{role}") for role, app in apps.items())
    given = {"name": name, "profile": Profile.DEVELOPMENT}
    ModelRegistry(owner, "Registry", business_unit=BusinessUnit(owner, "Unit", **given), name="first")
    unit = BusinessUnit.from_name(adds, "Unit", **given)
    FeatureStore(adds, "Features", business_unit=unit, groups=[group], lock_file=lock)
    ModelRegistry(adds, "Registry", business_unit=unit, name="second")
    unit = BusinessUnit.from_name(imports, "Unit", **given)
    FeatureStore.from_name(imports, "Features", business_unit=unit, groups=[group])
    for each in ("first", "second"):
        ModelRegistry.from_registry_name(imports, each.capitalize(), business_unit=unit, name=each)
    cdk.CfnResource(imports, "Topic", type="AWS::SNS::Topic")
    for app in apps.values():
        app.synth()
    folders = {role: tmp_path / role for role in apps}
    try:
        yield folders
    finally:
        for folder in reversed(folders.values()):
            deployer.destroy(cloud, folder)


@pytest.mark.cloud
def test_cloudformation_keeps_what_another_stack_imports(
    cloud: Cloud, parts: dict[str, Path], unique_stack: str
) -> None:
    """Applies to stacks with a store and a registry too: a stock deletion changes nothing and names the importer."""
    client = cloud.client("cloudformation")
    for folder in parts.values():
        deployer.deploy(cloud, folder)
    owner, adds, imports = (f"{unique_stack}{role}" for role in parts)
    unit = f"mlops-unit-{unique_stack.lower()}"
    exports = {f"{unit}:features", f"{unit}:registry:{unique_stack.lower()}-second"}
    outputs = client.describe_stacks(StackName=adds)["Stacks"][0]["Outputs"]

    assert {each["ExportName"] for each in outputs if "ExportName" in each} == exports
    for name, importers in ((unit, [adds, imports]), *((each, [imports]) for each in exports)):
        assert sorted(client.list_imports(ExportName=name)["Imports"]) == importers
    for stack, reason in ((adds, f"({'|'.join(exports)}) cannot .* by {imports}"), (owner, f"{unit} cannot .* by .*")):
        before = client.list_stack_resources(StackName=stack)["StackResourceSummaries"]
        client.delete_stack(StackName=stack)
        (found,) = client.describe_stacks(StackName=stack)["Stacks"]
        assert re.fullmatch(f"Export {reason}", found["StackStatusReason"])
        assert found["StackStatus"] == "CREATE_COMPLETE"
        assert client.list_stack_resources(StackName=stack)["StackResourceSummaries"] == before
    for stack in (imports, adds, owner):
        client.delete_stack(StackName=stack)
        client.get_waiter("stack_delete_complete").wait(StackName=stack, WaiterConfig={"Delay": 1})


def _stub(service: str, *answers: tuple[str, Any]) -> Any:
    client = boto3.client(service, "us-east-1", aws_access_key_id="x", aws_secret_access_key="x")
    stub = Stubber(client)
    for operation, answer in answers:
        if isinstance(answer, str):
            stub.add_client_error(operation, answer, "no")
        else:
            stub.add_response(operation, answer)
    stub.activate()
    return client


def _reads(*names: str) -> dict[str, Any]:
    kind = "AWS::SSM::Parameter::Value<String>"
    return {"Parameters": {f"P{number}": {"Type": kind, "Default": name} for number, name in enumerate(names)}}


KEY = "/mlops-unit/demand/1/production/key_arn"
STORE = "/mlops-unit/demand/1/production/features/data_bucket"


@pytest.mark.parametrize(
    ("published", "fix"),
    [
        ([], 'deploy the stack that defines BusinessUnit(..., name="demand") first'),
        (
            ["production/owner"],
            "its owner does not publish key_arn; deploy the owner with the library version of this stack",
        ),
        (
            ["development/key_arn", "production.0a1b/key_arn"],
            "it is deployed with the profile and platform rules 'development' and 'production.0a1b', but this stack imports "
            "'production'; import it with the same profile= and defaults=",
        ),
    ],
)
def test_what_a_missing_unit_lacks_is_named(published: list[str], fix: str) -> None:
    """Covers a missing unit, a value that an older owner does not publish, and other profiles or rules."""
    found = {"Parameters": [{"Name": f"/mlops-unit/demand/1/{name}", "Value": "x"} for name in published]}
    ssm = _stub("ssm", ("get_parameters", {"InvalidParameters": [KEY]}), ("get_parameters_by_path", found))
    assert missing_imports(ssm, {"Second": _reads(KEY, "/cdk-bootstrap/hnb659fds/version")}) == (
        [MissingImport(stack="Second", what="unit 'demand'", fix=fix)],
        [],
    )


def test_stores_and_registries_are_named_too() -> None:
    """Named with their unit; resources of another stack in the same deployment are not missing."""
    registry = "/mlops/demand/registry/demand-forecast"
    ssm = _stub("ssm", ("get_parameters", {"InvalidParameters": [STORE, registry]}))
    owner = {"Resources": {"Key": {"Type": "AWS::SSM::Parameter", "Properties": {"Name": KEY}}}}
    problems, notes = missing_imports(ssm, {"Third": _reads(KEY, registry, STORE), "Owner": owner})
    assert notes == []
    assert [each.what for each in problems] == [
        "the feature store of unit 'demand'",
        "registry 'demand-forecast' of unit 'demand'",
    ]
    assert problems[0].text.endswith(
        "which is not deployed in this account and Region: deploy the stack that defines it first"
    )


def test_what_may_not_be_read_refuses_nothing() -> None:
    """Prints a note, or omits the profile; stacks without imports are not checked."""
    listed = _stub(
        "ssm", ("get_parameters", {"InvalidParameters": [KEY]}), ("get_parameters_by_path", "AccessDeniedException")
    )
    (problem,), _ = missing_imports(listed, {"Second": _reads(KEY)})
    assert problem.fix == 'deploy the stack that defines BusinessUnit(..., name="demand") first'
    problems, (note,) = missing_imports(
        _stub("ssm", ("get_parameters", "AccessDeniedException")), {"Second": _reads(KEY), "S": {}}
    )
    assert problems == []
    assert note.startswith("stack Second: cannot check whether its imports are deployed: ")


def test_importers_of_stores_and_registries_go_first() -> None:
    """Follows the order of deletion: importers deleted first need no message."""
    stack = {"CreationTime": 0, "StackStatus": "CREATE_COMPLETE"}
    reads = {
        name: [{"ParameterKey": "P", "ParameterValue": value}] for name, value in (("Fourth", KEY), ("Third", STORE))
    }
    stacks = [
        {**stack, "StackName": "Owner"},
        *({**stack, "StackName": name, "Parameters": p} for name, p in reads.items()),
    ]
    row = {"LogicalResourceId": "P", "ResourceStatus": "CREATE_COMPLETE", "LastUpdatedTimestamp": 0}
    rows = [{**row, "ResourceType": "AWS::SSM::Parameter", "PhysicalResourceId": name} for name in (KEY, STORE)]
    answers = [("describe_stacks", {"Stacks": stacks})]
    listing = ("list_stack_resources", {"StackResourceSummaries": rows})
    found = list(remaining_imports(_stub("cloudformation", *answers, listing), ["Gone", "Owner"]))
    assert [each.text for each in found] == [
        "stack Owner has unit 'demand', which Fourth still imports: destroy it first",
        "stack Owner has the feature store of unit 'demand', which Third still imports: destroy it first",
    ]
    nothing: tuple[str, Any] = ("list_stack_resources", {"StackResourceSummaries": []})
    in_order = _stub("cloudformation", *answers, nothing, nothing, listing)
    assert list(remaining_imports(in_order, ["Third", "Fourth", "Owner"])) == []


def test_stacks_of_one_app_need_their_order(on_cloud: Run, unique_stack: str, tmp_path: Path) -> None:
    """A stack deployed before its owner gets the fix, and nothing is created."""
    unit = unique_stack.lower()
    name = f"/mlops-unit/{unit}/1/production/owner"
    parameter = {"Type": "AWS::SSM::Parameter", "Properties": {"Name": name, "Type": "String", "Value": "ann"}}
    templates = {
        "A": {**_reads(name), "Resources": {"T": {"Type": "AWS::SNS::Topic"}}},
        "B": {"Resources": {"P": parameter}},
    }
    artifacts = {}
    for key, template in templates.items():
        (tmp_path / f"{key}.json").write_text(json.dumps(template))
        artifacts[f"{unique_stack}{key}"] = {
            "type": "aws:cloudformation:stack",
            "environment": "aws://unknown-account/unknown-region",
            "properties": {"templateFile": f"{key}.json"},
        }
    (tmp_path / "manifest.json").write_text(json.dumps({"version": "36.0.0", "artifacts": artifacts}))
    (tmp_path / "copy.py").write_text(COPY)
    ended = on_cloud("deploy", "--app", f"python {tmp_path / 'copy.py'} {tmp_path}")
    assert ended.returncode == 1
    assert "it imports from a stack that the app deploys later; add importing.add_dependency(owner)" in ended.stderr
