"""A deployed unit on the shared cloud."""

import itertools
from collections.abc import Iterator

import pytest
from tests.cli.deployed_unit import DeployedUnit

from mlops_local.cloud import Cloud
from mlops_runtime.contracts.unit_entries import ROOT

_number = itertools.count(1)


@pytest.fixture
def deployed(cloud: Cloud) -> Iterator[DeployedUnit]:
    """Yield a unit with an endpoint that serves nothing yet; its published entries are removed afterwards."""
    made = DeployedUnit(cloud, f"owner{next(_number)}")
    yield made
    ssm = cloud.client("ssm")
    for page in ssm.get_paginator("get_parameters_by_path").paginate(Path=ROOT, Recursive=True):
        for name in (parameter["Name"] for parameter in page["Parameters"]):
            if name.startswith(f"{ROOT}{made.name}"):
                ssm.delete_parameter(Name=name)
