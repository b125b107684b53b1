"""A store that another unit defines, to be read by this one."""

from collections.abc import Sequence

from aws_cdk import aws_kms as kms
from aws_cdk import aws_s3 as s3

from constructs import Construct
from mlops_constructs.feature_store._base import FeatureStoreBase
from mlops_constructs.feature_store.access import FeatureAccess
from mlops_constructs.unit_interface import IBusinessUnit
from mlops_runtime.features.feature_group import FeatureGroup


class ImportedFeatureStore(FeatureStoreBase):
    """Groups of another unit's store. Define one with ``FeatureStore.from_feature_store_attributes``."""

    def __init__(
        self,
        scope: Construct,
        id: str,
        *,
        business_unit: IBusinessUnit,
        unit: str,
        data_bucket: s3.IBucket,
        key: kms.IKey,
        groups: Sequence[FeatureGroup],
        access: FeatureAccess,
    ) -> None:
        super().__init__(scope, id, unit=unit, groups=groups, access=access, is_whole=False)
        self._data, self._key = data_bucket, key
        business_unit.read_from(unit)
