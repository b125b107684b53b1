"""Append-only feature tables in Glue, and the buckets of their data and of training sets."""

from mlops_constructs.feature_store.feature_store import FeatureStore
from mlops_runtime.features.group import Entity, Feature, FeatureGroup

__all__ = ["Entity", "Feature", "FeatureGroup", "FeatureStore"]
