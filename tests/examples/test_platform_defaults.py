"""A platform team's package, a unit that uses it, and the unit's second stack."""

from pathlib import Path

import aws_cdk as cdk
import examples.platform_defaults
from examples.pages.platform_unit import Discounts, Pricing

from mlops_constructs import ModelImage
from mlops_constructs.compliance.harness import check

IMAGE = ModelImage.from_ecr(repository_name="mlops-runtime", digest="sha256:" + "0" * 64)
ENV = cdk.Environment(account="111122223333", region="eu-west-1")


def test_a_platforms_package_is_short() -> None:
    """It takes less than 60 lines, including imports."""
    assert len(Path(examples.platform_defaults.__file__).read_text().splitlines()) < 60


def test_both_stacks_obey_and_pass_every_check(tmp_path: Path) -> None:
    """Packs have no open finding, nothing is looser than the platform's rules; the second stack reads the first's parameters."""
    app = cdk.App(outdir=str(tmp_path), context={"@aws-cdk/core:validateAgainstDefaultRules": True})
    Pricing(app, "Pricing", image=IMAGE, env=ENV)
    Discounts(app, "Discounts", env=ENV)
    evidence = check(app)
    templates = {stack.stack_name: stack.template for stack in app.synth().stacks}
    read = {
        each["Default"]
        for each in templates["Discounts"]["Parameters"].values()
        if str(each.get("Default", "")).startswith("/mlops-unit/")
    }
    published = {
        each["Properties"].get("Name")
        for each in templates["Pricing"]["Resources"].values()
        if each["Type"] == "AWS::SSM::Parameter"
    }

    assert [problem for stack in evidence.stacks for problem in stack.problems] == []
    assert [value for stack in evidence.stacks for value in stack.loosened] == []
    assert read
    assert read <= published
