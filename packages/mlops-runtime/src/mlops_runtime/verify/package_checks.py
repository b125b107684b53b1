"""Checks of packages in the registry: recorded identities, added fields, version numbers, and images."""

from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from mlops_runtime.contracts import content_hash
from mlops_runtime.refused_calls import DENIED
from mlops_runtime.registry.model_package import ADDED, registered_metadata
from mlops_runtime.registry.package_registry import Approver
from mlops_runtime.verify.account import Place
from mlops_runtime.verify.probe_model import ProbeModel, times
from mlops_runtime.verify.problems import CheckError, expect, refused
from mlops_runtime.verify.unit import Deployed

if TYPE_CHECKING:
    from mypy_boto3_sagemaker.type_defs import DescribeModelPackageOutputTypeDef

REASON = "mlops verify"
_ABSENT = "mlops-verify-absent@sha256:" + "f" * 64


class PackageChecks:
    """The checks of packages in the unit's registry; each returns its evidence or raises ``CheckError``."""

    def __init__(self, place: Place, deployed: Deployed) -> None:
        self._place, self._deployed = place, deployed
        self._sagemaker, self._group = place.client("sagemaker"), deployed.outputs["EndpointName"]

    def approval_status_is_a_condition(self) -> str:
        """In the approvers' role, setting PendingManualApproval is denied and Rejected is allowed."""
        package, role = self.register(times(1.0)), self.approver()
        try:
            role.sagemaker.update_model_package(ModelPackageArn=package, ModelApprovalStatus="PendingManualApproval")
        except ClientError as error:
            expect(error.response["Error"]["Code"] in DENIED, f"PendingManualApproval: {error}")
        else:
            raise CheckError("the approvers' role may set PendingManualApproval")
        role.reject(self.describe(package), reason=REASON)
        status = self.describe(package)["ModelApprovalStatus"]
        expect(status == "Rejected", f"after a rejection the package is {status}")
        return "PendingManualApproval is denied, Rejected is allowed"

    def approver_is_a_session(self) -> str:
        """``LastModifiedBy`` of a package that the approvers' role changed names the role's session."""
        package, role = self.register(times(1.0)), self.approver()
        role.reject(self.describe(package), reason=REASON)
        identity = self.describe(package).get("LastModifiedBy", {}).get("IamIdentity", {})
        expect(
            ":assumed-role/" in identity.get("Arn", ""), f"IamIdentity has {', '.join(sorted(identity)) or 'nothing'}"
        )
        return "LastModifiedBy.IamIdentity.Arn is of an assumed role"

    def registering_is_no_modification(self) -> str:
        """A package that was registered and not updated has no ``LastModifiedBy``."""
        found = self.describe(self.register(times(1.0)))
        expect("CreatedBy" in found, "DescribeModelPackage does not say who registered the package")
        expect(
            not found.get("LastModifiedBy"),
            f"LastModifiedBy of a package without an update has {', '.join(sorted(found.get('LastModifiedBy', {})))}",
        )
        return "CreatedBy and no LastModifiedBy"

    def gains_two_fields(self) -> str:
        """A container is returned as registered, with at most ``ImageDigest`` and ``ModelDataETag`` added."""
        model = times(1.0)
        given = self._container(model, self._deployed.image)
        package = self.register(model)
        (found,) = self.describe(package)["InferenceSpecification"]["Containers"]
        added = sorted(set(found) - set(given))
        changed = sorted(name for name, value in given.items() if found.get(name) != value)
        expect(not changed, f"changed or missing: {', '.join(changed)}")
        expect(set(added) <= set(ADDED), f"SageMaker added {', '.join(added)}")
        return f"{len(given)} fields as given, added: {', '.join(added) or 'nothing'}"

    def versions_are_not_used_again(self) -> str:
        """The package after a deleted one has the next version."""
        first = self.register(times(1.0))
        version = self.describe(first)["ModelPackageVersion"]
        self._sagemaker.delete_model_package(ModelPackageName=first)
        next_one = self.describe(self.register(times(1.0)))["ModelPackageVersion"]
        expect(next_one == version + 1, f"after version {version} was deleted the next package is version {next_one}")
        return f"version {version} was deleted, the next package is version {next_one}"

    def image_is_checked(self) -> str:
        """A package whose image does not exist is rejected; the other checks show that the unit's image is accepted."""
        absent, made = f"{self._deployed.image.partition('/')[0]}/{_ABSENT}", list[str]()
        words = refused(lambda: made.append(self.register(times(1.0), image=absent)), names="image")
        if words is None:
            self._sagemaker.delete_model_package(ModelPackageName=made[0])
            raise CheckError("a package whose image is in no registry is taken")
        return words

    # -- actions for other checks

    def register(self, model: ProbeModel, *, image: str = "") -> str:
        """Register a pending package, and return its ARN.

        Args:
            image: Its image. Default: the unit's.
        """
        texts = ("training_set_id", "execution", "baseline_uri", "evaluation_uri")
        metadata = {"artifact_sha256": model.archive_sha256, "model_sha256": model.model_sha256}
        # no monitor runs, which would read a baseline and compare its hash with this
        metadata |= {"baseline_sha256": content_hash({}), **{text: f"s3://none/{text}" for text in texts}}
        container = self._container(model, image or self._deployed.image)
        bucket, _, key = container["ModelDataUrl"].removeprefix("s3://").partition("/")
        self._place.client("s3").put_object(Bucket=bucket, Key=key, Body=model.archive)
        created = self._sagemaker.create_model_package(
            ModelPackageGroupName=self._group,
            ModelApprovalStatus="PendingManualApproval",
            CustomerMetadataProperties=registered_metadata(container, metadata),
            InferenceSpecification={
                "Containers": [container],
                "SupportedContentTypes": ["application/json"],
                "SupportedResponseMIMETypes": ["application/json"],
            },
        )
        return str(created["ModelPackageArn"])

    def approver(self) -> Approver:
        """Return an approver in the approvers' role."""
        return Approver.in_role(
            sts=self._place.client("sts"),
            sagemaker=self._sagemaker,
            role=self._deployed.outputs["ApproverRoleArn"],
            caller=self._place.caller,
        )

    def describe(self, package: str) -> "DescribeModelPackageOutputTypeDef":
        """Return the registry's description of a package."""
        found: DescribeModelPackageOutputTypeDef = self._sagemaker.describe_model_package(ModelPackageName=package)
        return found

    def _container(self, model: ProbeModel, image: str) -> dict[str, Any]:
        key = f"models/{self._group}/{model.archive_sha256[:12]}/output/model.tar.gz"
        return {
            "Image": image,
            "ModelDataUrl": f"s3://{self._deployed.outputs['ArtifactsBucket']}/{key}",
            "Environment": {"MLOPS_MODEL_SHA256": model.model_sha256},
        }
