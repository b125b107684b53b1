"""Types recorded without effect."""

import subprocess
import sys

from mlops_local.stacks.recorded_types import recorded_types


def test_knows_the_types_that_the_constructs_use() -> None:
    """Types without effect here are recorded; executed types are not among them."""
    assert {
        "AWS::EC2::FlowLog", "AWS::Glue::TableOptimizer",
        "AWS::Glue::DataQualityRuleset", "AWS::Glue::SecurityConfiguration", "AWS::EC2::NetworkAcl", "AWS::EC2::NetworkAclEntry",
    } <= recorded_types()  # fmt: skip
    assert "AWS::CloudWatch::CompositeAlarm" not in recorded_types()


def test_a_client_of_a_cloud_loads_nothing_of_ministack() -> None:
    """Otherwise every command that reads or deploys to a cloud would take half a second longer."""
    code = "import sys, mlops_local.cloud, mlops_local.stacks.deployer as _; sys.exit('ministack' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
