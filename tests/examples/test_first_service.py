"""The smallest service on a cluster: the page shows the synthesized code."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path

import aws_cdk as cdk
import pytest
from examples.first_service import FirstService
from examples.stacks import compose

from examples import stacks
from mlops_constructs import ValidationError

ROOT = Path(__file__).resolve().parents[2]
CLUSTER = {
    "name": "retail",
    "security_group_id": "sg-0123456789abcdef0",
    "subnet_cidrs": ["10.0.0.0/17", "10.0.128.0/17"],
}


def _app(folder: Path | None = None, **context: object) -> cdk.App:
    known = {"image_digest": "sha256:" + "0" * 64, "target": "eks"}
    return cdk.App(outdir=None if folder is None else str(folder), context={**known, **context})


def test_the_page_shows_the_example() -> None:
    """The code takes at most twenty lines."""
    shown = re.search(r"```python\n(.*?)```", (ROOT / "docs/eks.md").read_text(), re.DOTALL)
    assert shown is not None
    (page,) = ast.parse(shown[1]).body
    (example,) = (
        node
        for node in ast.parse((ROOT / "examples/first_service.py").read_text()).body
        if isinstance(node, ast.ClassDef)
    )
    assert isinstance(page, ast.ClassDef)
    body = [node for node in example.body if not isinstance(node, ast.Expr)]
    assert [ast.unparse(node) for node in page.body] == [ast.unparse(node) for node in body]
    assert len(shown[1].splitlines()) <= 20


def test_the_first_service_is_small_and_in_the_platforms_network(tmp_path: Path) -> None:
    """It has no network of its own, and uses only SageMaker's registry."""
    app = cdk.App(outdir=str(tmp_path))
    FirstService(app, "FirstService")
    resources = app.synth().get_stack_by_name("FirstService").template["Resources"]
    kinds = [resource["Type"] for resource in resources.values()]
    assert len(kinds) < 140
    assert "AWS::EC2::VPC" not in kinds
    assert [kind for kind in kinds if kind.startswith("AWS::SageMaker::")] == ["AWS::SageMaker::ModelPackageGroup"]


@pytest.fixture
def _only_demand(monkeypatch: pytest.MonkeyPatch) -> None:
    """Remove the other stacks, which stay the same."""
    for name in ("CustomerBehavior", "DynamicPricing", "FirstEndpoint"):
        monkeypatch.setattr(stacks, name, lambda *_, **__: None)


@pytest.mark.usefixtures("_only_demand")
def test_the_unit_serves_from_a_cluster_where_the_context_says_so(tmp_path: Path) -> None:
    """The same stack has a service instead of an endpoint, with retraining and monitor as before."""
    app = _app(tmp_path, cluster=CLUSTER)
    compose(app)
    template = app.synth().get_stack_by_name("DemandForecasting").template
    assert {"ServiceUrl", "RuleArn", "CaptureBucket", "DeployMachineArn", "EndpointName"} <= set(template["Outputs"])
    assert len(template["Resources"]) < 350
    (decide,) = (
        resource["Properties"]["Environment"]["Variables"]
        for resource in template["Resources"].values()
        if resource["Type"] == "AWS::Lambda::Function" and "MONITOR" in str(resource["Properties"].get("Environment"))
    )
    assert "AWS/ApplicationELB" in json.dumps(decide["TRAFFIC"])


def test_fails_when_the_cluster_is_not_described() -> None:
    """Reports everything that is missing at once."""
    with pytest.raises(ValidationError) as caught:
        compose(_app(cluster={"name": "retail"}))
    assert [problem.split()[0] for problem in caught.value.problems] == ["security_group_id", "subnet_cidrs"]


def test_fails_when_there_is_no_such_target() -> None:
    """The error names both targets."""
    with pytest.raises(ValueError, match="context target must be 'sagemaker' or 'eks', got 'ecs'"):
        compose(_app(target="ecs"))
