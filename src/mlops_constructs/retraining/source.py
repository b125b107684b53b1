"""Where a pipeline's training sets come from."""

from dataclasses import dataclass

from aws_cdk import aws_kms as kms
from aws_cdk import aws_s3 as s3

from mlops_constructs._arguments import checked
from mlops_constructs._errors import ValidationError
from mlops_constructs._validation import check_pattern
from mlops_constructs.feature_store import FeatureStore
from mlops_runtime.contracts.retraining import TrainingSetPlan
from mlops_runtime.features.feature_group import FeatureGroup

# https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-keys.html: characters that need no care
_PREFIX = r"[A-Za-z0-9!_.*'()-]+(?:/[A-Za-z0-9!_.*'()-]+)*"


@checked("InvalidTrainingSetSource")
@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingSetSource:
    """Where training sets come from: built anew from the feature store, or laid down in S3 by others. Use a factory.

    Example:
        >>> source = TrainingSetSource.s3(bucket=bucket, prefix="exports/demand", label="units")
        >>> source.is_built
        False
    """

    bucket: s3.IBucket
    prefix: str
    label: str
    plan: TrainingSetPlan | None = None
    store: FeatureStore | None = None

    @classmethod
    def s3(cls, *, bucket: s3.IBucket, prefix: str, label: str) -> "TrainingSetSource":
        """Read what lies below a prefix at the time of training: ``train/``, ``holdout/`` (Parquet) and ``manifest/`` (one JSON).

        The manifest is a ``TrainingSetManifest``; its split names ``trained_until``, ``holdout_from`` and ``holdout_until``.

        Args:
            bucket: The bucket.
            prefix: The prefix, without a slash at its ends.
            label: The column that is predicted.

        Raises:
            ValidationError: If the prefix is not allowed.
        """
        problem = check_pattern("prefix", prefix, pattern=_PREFIX, allowed="a prefix such as 'exports/demand'")
        if problem is not None:
            raise ValidationError("InvalidTrainingSetSource", [problem])
        return cls(bucket=bucket, prefix=prefix, label=label)

    @classmethod
    def features(cls, *, store: FeatureStore, plan: TrainingSetPlan) -> "TrainingSetSource":
        """Build a set from the feature store for each training.

        Args:
            store: The store.
            plan: What a training set is made of.
        """
        return cls(
            bucket=store.training_sets_bucket, prefix=f"sets/{plan.name}", label=plan.label, plan=plan, store=store
        )

    @property
    def is_built(self) -> bool:
        """Whether the pipeline builds the sets itself."""
        return self.plan is not None

    @property
    def label_group(self) -> FeatureGroup | None:
        """Feature group whose rows are the labels; None for a training set from S3."""
        if self.plan is None or self.store is None:
            return None
        return next((group for group in self.store.groups if group.name == self.plan.label_group), None)

    def foreign_key(self, *, beside: kms.IKey) -> kms.IKey | None:
        """Return the key of the bucket, where it says which and it is another than the unit's.

        Args:
            beside: The unit's key.
        """
        key = self.bucket.encryption_key
        return None if key is None or key.node.path == beside.node.path else key

    @property
    def root(self) -> str:
        """The prefix of one training's set, as an expression without braces."""
        uri = f"s3://{self.bucket.bucket_name}/{self.prefix}"
        return f"'{uri}/' & $name" if self.is_built else f"'{uri}'"
