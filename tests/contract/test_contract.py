"""Compatibility with earlier deployments: names, ids of stateful resources, ids of warnings, templates of the examples.

``MLOPS_UPDATE_CONTRACT=1 pytest tests/contract`` rewrites the files; a removed or changed line is a major version and needs a
line in the changelog.
"""

import hashlib
import inspect
import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aws_cdk as cdk
import pytest

import mlops_constructs
from mlops_constructs import BusinessUnit, Entity, Feature, FeatureGroup, FeatureStore, ModelRegistry, Profile
from mlops_constructs._warnings import ALL_WARNINGS
from mlops_runtime.features.lock_file import write_lock

HERE = Path(__file__).parent
STATEFUL = (
    "AWS::DynamoDB::Table",
    "AWS::Events::EventBus",
    "AWS::Glue::Database",
    "AWS::Glue::Table",
    "AWS::KMS::Key",
    "AWS::Logs::LogGroup",
    "AWS::S3::Bucket",
    "AWS::SNS::Topic",
    "AWS::SQS::Queue",
    "AWS::SageMaker::ModelPackageGroup",
)


def _promised(name: str, found: Any) -> Any:
    path = HERE / name
    text = json.dumps(found, indent=2, sort_keys=True) + "\n"
    if os.environ.get("MLOPS_UPDATE_CONTRACT") == "1":
        path.write_text(text)
    return json.loads(path.read_text())


def _same_as_promised(name: str, found: Any) -> None:
    assert _promised(name, found) == found


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A production stack with the stateful constructs."""
    lock_file = tmp_path_factory.mktemp("lock") / "features.lock.json"
    group = FeatureGroup(
        name="stock",
        entities=(Entity("store_id", "string", "store"),),
        features=(Feature("on_hand", "long", "units on hand"),),
        owner="demand",
        description="stock",
    )
    write_lock([group], lock_file)
    app = cdk.App(context={"aws:cdk:enable-path-metadata": True})
    stack = cdk.Stack(app, "Demand")
    unit = BusinessUnit(stack, "Unit", name="demand", profile=Profile.PRODUCTION)
    ModelRegistry(stack, "Registry", business_unit=unit, name="forecast")
    FeatureStore(stack, "Features", business_unit=unit, groups=[group], lock_file=lock_file)
    found: dict[str, Any] = app.synth().get_stack_by_name("Demand").template
    return found


def test_stateful_resources_keep_their_logical_ids(template: dict[str, Any]) -> None:
    """A resource with another logical id replaces the old one, which is deleted with its data."""
    ids = {
        resource["Metadata"]["aws:cdk:path"]: [resource["Type"], name]
        for name, resource in template["Resources"].items()
        if resource["Type"] in STATEFUL
    }

    assert len(ids) > 8
    _same_as_promised("logical_ids.json", ids)


ON_CLUSTER = {"target": "eks", "stacks": ["DemandForecasting"], "has_service": True}
# file names of assets (code of functions and jobs), which change with every release
ASSET = re.compile(r"(?<!sha256:)\b[0-9a-f]{64}\b")


@pytest.mark.parametrize("profile", ["development", "production"])
def test_templates_change_on_purpose_alone(
    profile: str, example_templates: Callable[..., dict[str, dict[str, Any]]]
) -> None:
    """A feature's additions, such as several accounts, do not change templates of stacks without it, byte for byte.

    The assertion lists each changed resource type: every unit of that kind changes with its next deployment.
    """
    found, of_profile = {}, {} if profile == "development" else {"profile": profile}
    for target, context in (("sagemaker", {}), ("eks", ON_CLUSTER)):
        for stack, template in example_templates(**of_profile, **context).items():
            parts = _parts(json.loads(ASSET.sub("<asset>", json.dumps(template))))
            found |= {f"{stack} on {target}, {part}": _digest(value) for part, value in parts.items()}
    promised = _promised(f"templates_{profile}.json", found)

    assert [part for part in sorted({*promised, *found}) if promised.get(part) != found.get(part)] == []


def _parts(template: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return resources by type, and the rest of a template."""
    parts: dict[str, dict[str, Any]] = {name: value for name, value in template.items() if name != "Resources"}
    for name, resource in template["Resources"].items():
        parts.setdefault(resource["Type"], {})[name] = resource
    return parts


def _digest(value: dict[str, Any]) -> str:
    return f"{len(value)} {hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]}"


def test_warnings_keep_their_ids() -> None:
    """Callers acknowledge them by id."""
    _same_as_promised("warning_ids.json", sorted(warning.id for warning in ALL_WARNINGS))


def test_public_names_keep_their_arguments() -> None:
    """Each public name, with its constructor's arguments."""
    public = {}
    for name in sorted(mlops_constructs.__all__):
        item = getattr(mlops_constructs, name)
        parameters = inspect.signature(item.__init__ if inspect.isclass(item) else item).parameters.values()
        public[name] = [p.name + ("" if p.default is p.empty else "=") for p in parameters if p.name != "self"]

    _same_as_promised("public_api.json", public)
