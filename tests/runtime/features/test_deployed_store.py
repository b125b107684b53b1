"""A unit's store is found by its parameter; its client is tested in ``tests/cli/test_feature_location.py``."""

from datetime import UTC, datetime

import pytest

from mlops_local.cloud import Cloud
from mlops_runtime.business_unit.deployed_entries import NotDeployedError
from mlops_runtime.features.deployed_store import open_store


def test_fails_without_a_store(cloud: Cloud) -> None:
    """The error names the unit."""
    with pytest.raises(NotDeployedError, match="business unit 'never' has not published a feature store"):
        open_store(cloud.client, cloud.environment(), unit="never", now=datetime(2017, 8, 1, tzinfo=UTC))
