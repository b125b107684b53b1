"""Data capture of an endpoint, and how personal fields stay out of it."""

from dataclasses import dataclass, field

import aws_cdk as cdk
from aws_cdk import aws_iam as iam
from aws_cdk import aws_secretsmanager as secretsmanager

from constructs import Construct
from mlops_constructs._arguments import checked
from mlops_constructs._errors import ValidationError
from mlops_constructs._validation import check_duration, check_names, check_range
from mlops_constructs.compliance import acknowledge, acknowledge_family
from mlops_constructs.unit_interface import IBusinessUnit
from mlops_runtime.contracts.serving import PersonalSpec

_CHARACTERS = 64
_NO_ROTATION = (
    "another key would give every household another hash, and labels, segments and training sets would no longer join; "
    "rejected: rotation, for a key that decrypts nothing"
)


@checked("InvalidPersonalData")
@dataclass(frozen=True, slots=True, kw_only=True)
class PersonalData:
    """Say which fields of calls are personal; clients protect them before they send anything, so that captures never hold them.

    SageMaker captures whole payloads, and nothing behind the client can take a field out of them.
    ``mlops_runtime.serving.endpoint_client.EndpointClient`` and ``mlops invoke`` read these names from what the endpoint publishes.

    Args:
        hashed: Fields that the model needs to tell apart: sent as a keyed hash (HMAC-SHA256), the same for the same value. The
            model must be trained on hashes too. Default: none.
        withheld: Fields that are never sent, and so never captured. Default: none.
        plain: Fields that are not personal though their names read like those that are (``household_size``): clients refuse to
            send names that do otherwise, or that hold letters beyond ASCII. Default: none.

    Raises:
        ValidationError: If there is no personal field, or one is named twice.

    Example:
        >>> PersonalData(hashed=("household",), withheld=("email",)).withheld
        ('email',)
    """

    hashed: tuple[str, ...] = ()
    withheld: tuple[str, ...] = ()
    plain: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        lists = {"hashed": self.hashed, "withheld": self.withheld, "plain": self.plain}
        checks = [check_names(name, value, example="('email',)") for name, value in lists.items()]
        problems = [problem for problem in checks if problem is not None]
        if not problems:
            names = [name.casefold() for name in (*self.hashed, *self.withheld)]
            named = [*names, *(name.casefold() for name in self.plain)]
            repeated = sorted({name for name in named if named.count(name) > 1})
            problems += (
                [] if names else ["hashed or withheld must name a field; leave personal out where none is personal"]
            )
            problems += [f"a field must be hashed, withheld or plain, once, got {name!r} twice" for name in repeated]
        if problems:
            raise ValidationError("InvalidPersonalData", problems)


class PersonalKey(Construct):
    """Define the key of the hash of personal fields, made by Secrets Manager where nobody sees it. Stateful.

    Args:
        scope: Parent.
        id: Construct id.
        business_unit: The unit.
        endpoint_name: The endpoint.

    Example:
        >>> key = PersonalKey(self, "PersonalKey", business_unit=unit, endpoint_name="demand-forecast")
    """

    def __init__(self, scope: Construct, id: str, *, business_unit: IBusinessUnit, endpoint_name: str) -> None:
        super().__init__(scope, id)
        self._unit = business_unit
        self._secret = secretsmanager.Secret(
            self,
            "Resource",
            description=f"Key of the hash of personal fields of {endpoint_name}",
            encryption_key=business_unit.key,
            generate_secret_string=secretsmanager.SecretStringGenerator(
                password_length=_CHARACTERS, exclude_punctuation=True
            ),
            removal_policy=business_unit.profile.removal_policy,
        )
        acknowledge(self._secret, "AwsSolutions-SMG4", _NO_ROTATION)
        acknowledge_family(self._secret, "SecretsManagerRotationEnabled", _NO_ROTATION)

    @property
    def secret_arn(self) -> str:
        """ARN of the secret."""
        return self._secret.secret_arn

    def grant_read(self, grantee: iam.IGrantable) -> iam.Grant:
        """Let a client read the key: who calls the endpoint needs it.

        Args:
            grantee: Who.
        """
        read = iam.Grant.add_to_principal(
            grantee=grantee, actions=["secretsmanager:GetSecretValue"], resource_arns=[self._secret.secret_arn]
        )
        stack = cdk.Stack.of(self)
        decrypt = iam.Grant.add_to_principal(
            grantee=grantee,
            actions=["kms:Decrypt"],
            resource_arns=[self._unit.key.key_arn],
            conditions={"StringEquals": {"kms:ViaService": f"secretsmanager.{stack.region}.{stack.url_suffix}"}},
        )
        return read.combine(decrypt)


def personal_spec(personal: PersonalData | None, key: PersonalKey | None) -> PersonalSpec | None:
    """Return what clients are told; None where no field is personal.

    Args:
        personal: What was declared.
        key: Key of the hash; None where nothing is hashed.
    """
    if personal is None:
        return None
    return PersonalSpec(
        hashed=personal.hashed,
        withheld=personal.withheld,
        secret_arn=None if key is None else key.secret_arn,
        plain=personal.plain,
    )


def define_personal_key(
    scope: Construct, id: str, *, business_unit: IBusinessUnit, endpoint_name: str, personal: PersonalData | None
) -> PersonalKey | None:
    """Define the key where a field is hashed.

    Args:
        scope: Parent.
        id: Construct id.
        business_unit: The unit.
        endpoint_name: The endpoint.
        personal: What was declared; None where no field is personal.
    """
    if personal is None or not personal.hashed:
        return None
    return PersonalKey(scope, id, business_unit=business_unit, endpoint_name=endpoint_name)


@checked("InvalidDataCapture")
@dataclass(frozen=True, slots=True, kw_only=True)
class DataCapture:
    """Keep requests and responses for the monitors.

    Args:
        sampling_percent: Share of calls that is kept, 1 to 100 percent.
        retention: How long captures and labels are kept, at least a day. Default: 90 days.
        personal_data: Fields that clients hash or leave out before they send anything. Default: no field is personal.

    Raises:
        ValidationError: If a value is not possible.

    Example:
        >>> DataCapture(sampling_percent=100).retention.to_days()
        90
    """

    sampling_percent: int
    retention: cdk.Duration = field(default_factory=lambda: cdk.Duration.days(90))
    personal_data: PersonalData | None = None

    def __post_init__(self) -> None:
        days = cdk.Duration.days
        problems = [
            check_range(
                "sampling_percent",
                self.sampling_percent,
                minimum=1,
                maximum=100,
                fix="leave capture out to keep nothing",
            ),
            check_duration("retention", self.retention, minimum=days(1), maximum=days(3650), whole="days"),
        ]
        found = [problem for problem in problems if problem is not None]
        if found:
            raise ValidationError("InvalidDataCapture", found)
