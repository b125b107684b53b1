"""Names that examples in construct docstrings assume: a stack, a unit and other resources."""

import json
from functools import cached_property
from pathlib import Path

import aws_cdk as cdk
from aws_cdk import aws_certificatemanager as acm
from aws_cdk import aws_iam as iam
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_sqs as sqs

import mlops_constructs as mlops
from mlops_runtime.contracts.model import ModelSignature, SignatureColumn
from mlops_runtime.contracts.retraining import EvaluationPlan, TrainingSetPlan
from mlops_runtime.contracts.rollout import RolloutSpec, ServingSpec
from mlops_runtime.features.lock_file import write_lock
from mlops_runtime.inference_api.request_promise import request_schema

PRICE = SignatureColumn(name="price", type="number")
ACCOUNT = "111111111111"


def _group(name: str, features: list[str]) -> mlops.FeatureGroup:
    return mlops.FeatureGroup(
        name=name,
        entities=(mlops.Entity("store", "string", "store"),),
        features=tuple(mlops.Feature(feature, "double", feature) for feature in features),
        owner="ann",
        description=name,
    )


class Given:
    """Each name of an example is an attribute, created on first access.

    Args:
        folder: Working directory of the example, with the files that examples name.
    """

    GROUPS = (_group("sales", ["units", "price"]),)
    PRICES = (_group("prices", ["list_price"]),)

    def __init__(self, folder: Path) -> None:
        for name in ("training/train.py", "processing/embed.py"):
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_text("print('done')\n")
        (folder / "golden.jsonl").write_text(
            '{"name": "small", "body": "{\\"price\\": 2.5}", "rows": 1, "minimum": 0}\n'
        )
        (folder / "forecast.schema.json").write_text(
            json.dumps(request_schema(ModelSignature(inputs=(PRICE,), output="units"), max_rows=50))
        )
        write_lock([*self.GROUPS, *self.PRICES], folder / "features.lock.json")
        self._folder = folder
        self.app = cdk.App(context={"@aws-cdk/aws-iam:minimizePolicies": True}, outdir=str(folder / "cdk.out"))
        self.stack = self.self = cdk.Stack(self.app, "Example")

    @cached_property
    def image(self) -> mlops.ModelImage:
        """Return an image by digest."""
        return mlops.ModelImage.from_ecr(repository_name="mlops-runtime", digest="sha256:" + "1" * 64)

    @cached_property
    def unit(self) -> mlops.BusinessUnit:
        """Return a DEVELOPMENT unit in an existing network."""
        network = mlops.Network.from_shared_vpc(
            vpc_id="vpc-1", availability_zones=["a", "b"], subnet_ids=["subnet-1", "subnet-2"]
        )
        return mlops.BusinessUnit(
            self.stack, "GivenUnit", name="demand", profile=mlops.Profile.DEVELOPMENT, network=network
        )

    @cached_property
    def registry(self) -> mlops.ModelRegistry:
        """Return a registry."""
        return mlops.ModelRegistry(self.stack, "GivenRegistry", business_unit=self.unit, name="forecast")

    @cached_property
    def endpoint(self) -> mlops.ModelEndpoint:
        """Return an endpoint with data capture."""
        return mlops.ModelEndpoint(
            self.stack,
            "GivenEndpoint",
            business_unit=self.unit,
            registry=self.registry,
            name="forecast",
            image=self.image,
            capacity=mlops.EndpointCapacity.instances("ml.m5.large", instance_count=2),
            capture=mlops.DataCapture(sampling_percent=100),
        )

    @cached_property
    def store(self) -> mlops.FeatureStore:
        """Return a feature store."""
        lock = self._folder / "features.lock.json"
        return mlops.FeatureStore(self.stack, "GivenStore", business_unit=self.unit, groups=self.GROUPS, lock_file=lock)

    @cached_property
    def plan(self) -> TrainingSetPlan:
        """Return a training-set plan."""
        return TrainingSetPlan(
            name="sales",
            label_group="sales",
            timestamp="event_time",
            label="units",
            features={"sales": ("price",)},
            holdout_days=28,
        )

    @cached_property
    def training(self) -> mlops.TrainingJob:
        """Return a training job."""
        return mlops.TrainingJob(
            image=self.image,
            source=self._folder / "training",
            script="train.py",
            instance_type="ml.m5.large",
            max_runtime=cdk.Duration.hours(1),
        )

    @cached_property
    def evaluation(self) -> EvaluationPlan:
        """Return an evaluation."""
        return EvaluationPlan(label="units", block="store", baselines=("price",))

    @cached_property
    def retraining(self) -> mlops.RetrainingPipeline:
        """Return a retraining pipeline."""
        return mlops.RetrainingPipeline(
            self.stack,
            "GivenRetraining",
            business_unit=self.unit,
            registry=self.registry,
            endpoint=self.endpoint,
            store=self.store,
            name="forecast",
            training_set=self.plan,
            training=self.training,
            evaluation=self.evaluation,
        )

    @cached_property
    def monitor(self) -> mlops.ModelMonitor:
        """Return a monitor of a week."""
        week, day = cdk.Duration.days(7), cdk.Duration.days(1)
        return mlops.ModelMonitor(self.stack, "GivenMonitor", endpoint=self.endpoint, window=week, interval=day)

    @cached_property
    def alarms(self) -> mlops.DriftAlarms:
        """Return its alarms."""
        return mlops.DriftAlarms(self.stack, "GivenAlarms", monitor=self.monitor)

    @cached_property
    def settings(self) -> mlops.SageMakerModelMonitor:
        """Return Model Monitor's default settings."""
        return mlops.SageMakerModelMonitor()

    @cached_property
    def cluster(self) -> mlops.EksCluster:
        """Return a cluster of a platform team."""
        return mlops.EksCluster.from_cluster_attributes(
            self.stack,
            "GivenCluster",
            name="retail",
            security_group_id="sg-0123456789abcdef0",
            subnet_cidrs=["10.0.0.0/20", "10.0.16.0/20"],
        )

    @cached_property
    def tenant(self) -> mlops.EksTenant:
        """Return the unit's namespace on it."""
        return mlops.EksTenant(self.stack, "GivenTenant", business_unit=self.unit, cluster=self.cluster)

    @cached_property
    def certificate(self) -> acm.ICertificate:
        """Return a certificate."""
        arn = f"arn:aws:acm:us-east-1:{ACCOUNT}:certificate/0"
        return acm.Certificate.from_certificate_arn(self.stack, "GivenCertificate", arn)

    @cached_property
    def role(self) -> iam.IRole:
        """Return a role."""
        return iam.Role.from_role_arn(self.stack, "GivenRole", f"arn:aws:iam::{ACCOUNT}:role/serving")

    @cached_property
    def reader(self) -> iam.IRole:
        """Return the role of a console's readers."""
        return iam.Role(self.stack, "GivenReader", assumed_by=iam.AccountRootPrincipal())

    @cached_property
    def on_call(self) -> iam.IRole:
        """Return the topic of on-call staff."""
        return iam.Role(self.stack, "GivenOnCall", assumed_by=iam.AccountRootPrincipal())

    @cached_property
    def bucket(self) -> s3.IBucket:
        """Return a bucket."""
        return s3.Bucket.from_bucket_name(self.stack, "GivenBucket", "exports")

    @cached_property
    def queue(self) -> sqs.Queue:
        """Return a queue."""
        return sqs.Queue(self.stack, "GivenQueue", enforce_ssl=True)

    @cached_property
    def policy(self) -> mlops.RolloutPolicy:
        """Return a canary policy."""
        return mlops.RolloutPolicy.canary(percent=50, bake=cdk.Duration.minutes(10))

    @cached_property
    def spec(self) -> ServingSpec:
        """Return the serving spec of an endpoint."""
        return ServingSpec(
            endpoint="demand-forecast",
            variant="AllTraffic",
            instance_type="ml.m5.large",
            instance_count=2,
            execution_role=self.role.role_arn,
            subnets=("subnet-1",),
            security_groups=("sg-1",),
            rollout=RolloutSpec(kind="CANARY", bake=600, maximum=3600, percent=50, min_invocations=20),
            kms_key=self.unit.key.key_arn,
        )
