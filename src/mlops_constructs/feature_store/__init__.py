"""Feature stores: append-only Iceberg tables in Glue, and the buckets of their data, of training sets and of manifests."""

from mlops_constructs.feature_store.feature_ingest import FeatureIngest, GlueIngestJob
from mlops_constructs.feature_store.feature_store import FeatureStore
from mlops_constructs.feature_store.interface import IFeatureStore, ITrainingSetJob, IUnitFeatureStore
from mlops_constructs.feature_store.store_access import FeatureAccess
from mlops_constructs.feature_store.training_set_job import TrainingSetJob
from mlops_runtime.features.feature_group import Entity, Feature, FeatureGroup
from mlops_runtime.features.feature_service import FeatureService

__all__ = [
    "Entity",
    "Feature",
    "FeatureAccess",
    "FeatureGroup",
    "FeatureIngest",
    "FeatureService",
    "FeatureStore",
    "GlueIngestJob",
    "IFeatureStore",
    "ITrainingSetJob",
    "IUnitFeatureStore",
    "TrainingSetJob",
]
