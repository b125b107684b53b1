"""Feature services as they are stored: one document, one hash."""

import pytest

from mlops_runtime.contracts import ContractError, canonical_json, from_json
from mlops_runtime.contracts.feature_service import FeatureLookup, FeatureServiceSpec, ServedColumn, ServedGroup

STOCK = ServedGroup(
    group="stock",
    version=1,
    table="stock_v1",
    entities=(ServedColumn(name="store_id", type="string"),),
    features=(ServedColumn(name="on_hand", type="long"),),
    ttl_seconds=86400.0,
    ttl_bound="inclusive",
)
SHELVES = FeatureServiceSpec(name="shelves", version=1, groups=(STOCK,))


def test_a_service_is_one_document_without_what_it_lacks():
    """Fields that are not set are left out, so that a later version may add others."""
    text = canonical_json(FeatureServiceSpec(name="s", version=1, groups=())).decode()
    assert text == '{"format":"mlops.feature-service/1","groups":[],"name":"s","version":1}'
    assert from_json(FeatureServiceSpec, canonical_json(SHELVES)) == SHELVES


def test_a_lookup_reads_back_with_its_defaults():
    """Keys have the names of the group, a call waits 15 ms, and nulls are not allowed."""
    lookup = FeatureLookup(service=SHELVES)
    assert from_json(FeatureLookup, canonical_json(lookup)) == lookup
    assert (lookup.keys, lookup.budget_milliseconds, lookup.allows_nulls) == ({}, 15, False)


def test_another_format_is_refused():
    """A document of a later major version is not read as this one."""
    with pytest.raises(ContractError, match="format"):
        from_json(FeatureServiceSpec, canonical_json(SHELVES).replace(b"service/1", b"service/2"))
