"""Stacks that import from each other: named before anything is deleted, with the exports and the way out."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber

from mlops_cli.import_circles import import_circles
from mlops_local.cloud import Cloud

Run = Callable[..., subprocess.CompletedProcess[str]]
TOPIC = {"Topic": {"Type": "AWS::SNS::Topic"}}


def _template(exports: str, *imports: str) -> dict[str, Any]:
    values = [exports, *({"Fn::ImportValue": name} for name in imports)]
    outputs: dict[str, Any] = {f"Out{number}": {"Value": value} for number, value in enumerate(values)}
    outputs["Out0"]["Export"] = {"Name": exports}
    return {"Resources": TOPIC, "Outputs": outputs}


def _app(folder: Path, **templates: dict[str, Any]) -> str:
    """Write an assembly, and return the command that synthesizes it."""
    folder.mkdir(exist_ok=True)
    artifacts = {}
    for name, template in templates.items():
        (folder / f"{name}.json").write_text(json.dumps(template))
        artifacts[name] = {
            "type": "aws:cloudformation:stack",
            "environment": "aws://unknown-account/unknown-region",
            "properties": {"templateFile": f"{name}.json"},
        }
    (folder / "manifest.json").write_text(json.dumps({"version": "36.0.0", "artifacts": artifacts}))
    (folder / "copy.py").write_text(
        "import os, shutil, sys; shutil.copytree(sys.argv[1], os.environ['CDK_OUTDIR'], dirs_exist_ok=True)"
    )
    return f"python {folder / 'copy.py'} {folder}"


@pytest.mark.cloud
def test_a_circle_is_named_and_can_be_left(on_cloud: Run, cloud: Cloud, unique_stack: str, tmp_path: Path) -> None:
    """One line, whether one stack or both are destroyed; nothing is deleted before, and all of it once its advice is followed."""
    unit = f"mlops-unit-{unique_stack.lower()}"
    owner, adds, registry = f"{unique_stack}Owner", f"{unique_stack}Adds", f"{unit}:registry:second"
    alone = _app(tmp_path / "alone", **{owner: _template(unit)})
    second = _app(tmp_path / "second", **{adds: _template(registry, unit)})
    circle = {owner: _template(unit, registry), adds: _template(registry, unit)}
    both, first = _app(tmp_path / "both", **circle), _app(tmp_path / "first", **{owner: circle[owner]})
    for app in (alone, second, first):
        ended = on_cloud("deploy", "--app", app)
        assert ended.returncode == 0, ended.stderr

    client = cloud.client("cloudformation")
    words = (
        f"mlops: refused: stacks {adds} and {owner} import from each other, so neither can be deleted: {owner} imports export "
        f"{registry} of {adds}, and {adds} imports export {unit} of {owner}; deploy {owner} without its imports of {adds} first, "
        f"then destroy {adds}, then {owner}"
    )
    for app in (both, first, second):
        ended = on_cloud("destroy", "--yes", "--app", app)
        assert (ended.returncode, ended.stderr.strip()) == (1, words)
    for name in (owner, adds):
        assert client.describe_stacks(StackName=name)["Stacks"][0]["StackStatus"].endswith("E_COMPLETE")

    for verb, app in (("deploy", alone), ("destroy", second), ("destroy", alone)):
        ended = on_cloud(verb, *(["--yes"] if verb == "destroy" else []), "--app", app)
        assert ended.returncode == 0, ended.stderr
    assert {owner, adds}.isdisjoint(stack["StackName"] for stack in client.describe_stacks()["Stacks"])


def _stub(exports: dict[str, list[str]], imports: list[tuple[str, list[str]]]) -> Any:
    client = boto3.client("cloudformation", region_name="us-east-1", aws_access_key_id="a", aws_secret_access_key="b")
    stubber = Stubber(client)
    listed = [
        {"ExportingStackId": f"arn:aws:cloudformation:us-east-1:123456789012:stack/{stack}/1", "Name": name}
        for stack, names in exports.items()
        for name in names
    ]
    stubber.add_response("list_exports", {"Exports": listed})
    for name, importers in imports:
        if importers:
            stubber.add_response("list_imports", {"Imports": importers}, {"ExportName": name})
        else:
            stubber.add_client_error(
                "list_imports", "ValidationError", f"Export '{name}' is not imported by any stack."
            )
    stubber.activate()
    return client


def test_stacks_without_a_unit_are_left_by_name() -> None:
    """Each pair is named once, with all its exports."""
    exports = {"B": ["b1", "b2", "unused"], "A": ["a"]}
    client = _stub(exports, [("b1", ["A", "C"]), ("b2", ["A"]), ("unused", []), ("a", ["B"])])
    (circle,) = import_circles(client, ["B", "A"])
    assert (circle.opener, circle.opens, circle.other, circle.keeps) == ("A", ("b1", "b2"), "B", ("a",))
    assert "A imports exports b1 and b2 of B, and B imports export a of A" in circle.text


def test_one_sided_imports_are_no_circle() -> None:
    """They are refused in their order, by other checks."""
    client = _stub({"A": ["a"], "B": ["b"]}, [("a", ["B"]), ("b", [])])
    assert import_circles(client, ["A", "Gone"]) == []
