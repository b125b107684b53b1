"""Message of a check whose wait for the Deploy machine is too long."""

from __future__ import annotations

import itertools
import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from mlops_runtime.verify.account import Pace, Place, names
from mlops_runtime.verify.loop_checks import LoopChecks
from mlops_runtime.verify.package_checks import PackageChecks
from mlops_runtime.verify.problems import CheckError
from mlops_runtime.verify.unit import Deployed

if TYPE_CHECKING:
    from mlops_local.cloud import Cloud

_number = itertools.count(1)
ROLE = "arn:aws:iam::000000000000:role/loop-checks"
TRUST = {
    "Version": "2012-10-17",
    "Statement": {
        "Effect": "Allow",
        "Action": "sts:AssumeRole",
        "Principal": {"Service": "states.amazonaws.com"},
    },
}
STANDING = {
    "StartAt": "Before",
    "States": {"Before": {"Type": "Pass", "Next": "Bake"}, "Bake": {"Type": "Wait", "Seconds": 90000, "End": True}},
}


def test_a_wait_that_is_too_long_says_where_the_rollout_stands(cloud: Cloud) -> None:
    """The message contains the last entered state and the time since."""
    machines, name = cloud.client("stepfunctions"), f"loop-checks-{next(_number)}"
    cloud.client("iam").create_role(RoleName="loop-checks", AssumeRolePolicyDocument=json.dumps(TRUST))
    machine = machines.create_state_machine(name=name, definition=json.dumps(STANDING), roleArn=ROLE)["stateMachineArn"]
    execution = machines.start_execution(stateMachineArn=machine)["executionArn"]
    place = Place(
        client=cloud.client,
        account="000000000000",
        region="us-east-1",
        caller="arn:aws:iam::000000000000:root",
        cloud="embedded",
        names=names("000000000000", "us-east-1"),
        now=lambda: datetime.fromisoformat(cloud.clock()["now"]),
        wall=lambda: datetime.now(UTC),
        pace=Pace(poll=0.1, quiet=1, patience=1),
        command="mlops verify --clean",
    )
    deployed = Deployed(
        outputs={"EndpointName": name, "DeployMachineArn": machine},
        functions=(),
        image="",
        interface_services=(),
        since=datetime(2000, 1, 1, tzinfo=UTC),
    )
    try:
        with pytest.raises(
            CheckError,
            match=r"waited 1 s for the Deploy machine at rest; it has been in state Bake for \d+ min by the cloud's clock",
        ):
            LoopChecks(place, deployed, PackageChecks(place, deployed), lambda: None).nothing_serves_yet()
    finally:
        machines.stop_execution(executionArn=execution)
