"""Where training sets come from."""

from typing import Any

import pytest

from mlops_constructs import TrainingSetSource, ValidationError


@pytest.mark.parametrize("prefix", ["exports/demand", "a", "2017/08/01_(final)"])
def test_a_prefix_in_s3_is_the_same_for_each_training(demand: Any, prefix: str):
    """Its expression has no variable."""
    source = TrainingSetSource.s3(bucket=demand.store.data_bucket, prefix=prefix, label="units")
    assert not source.is_built
    assert source.root.endswith(f"/{prefix}'")


@pytest.mark.parametrize("prefix", ["", "/a", "a/", "a//b", "s3://b/a", "a'b\""])
def test_fails_when_a_prefix_is_none(demand: Any, prefix: str):
    """A slash at an end, an empty part, a URI."""
    with pytest.raises(ValidationError, match="prefix must be a prefix such as 'exports/demand'"):
        TrainingSetSource.s3(bucket=demand.store.data_bucket, prefix=prefix, label="units")
