"""Types that are recorded without effect."""

import subprocess
import sys

from mlops_local.stacks.recorded_types import recorded_types


def test_knows_the_types_that_the_constructs_use() -> None:
    """What only AWS does is recorded; what is executed is not among it."""
    assert {
        "AWS::EC2::FlowLog", "AWS::Glue::TableOptimizer",
        "AWS::Glue::DataQualityRuleset", "AWS::Glue::SecurityConfiguration", "AWS::EC2::NetworkAcl", "AWS::EC2::NetworkAclEntry",
    } <= recorded_types()  # fmt: skip
    assert "AWS::CloudWatch::CompositeAlarm" not in recorded_types()


def test_a_client_of_a_cloud_loads_nothing_of_ministack() -> None:
    """Every command that looks at a cloud or deploys to it would take half a second longer."""
    code = "import sys, mlops_local.cloud, mlops_local.stacks.deployer as _; sys.exit('ministack' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
