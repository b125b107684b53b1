"""The web console of an account: pages and API at one address, for people whom Cognito signs in and IAM lets act."""

import aws_cdk as cdk
from aws_cdk import aws_apigateway as gateway
from aws_cdk import aws_certificatemanager as acm
from aws_cdk import aws_cloudfront as cloudfront
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_cognito as cognito
from aws_cdk import aws_iam as iam

from constructs import Construct
from mlops_constructs._arguments import checked
from mlops_constructs._stack_values import stack_values
from mlops_constructs._validation import check_pattern, is_known, raise_if_any
from mlops_constructs._warnings import CONSOLE_ROLE_TRUST, warn
from mlops_constructs.console.console_api import define_alarm, define_api
from mlops_constructs.console.console_function import admit, define_console_function, role_name
from mlops_constructs.console.page_hosting import define_hosting, publish_pages
from mlops_constructs.console.sign_in import ACCESS_SCOPE, define_client, define_sign_in
from mlops_constructs.unit_interface import IBusinessUnit
from mlops_runtime.console.route import Role

_DOMAIN = r"(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]{2,63}"
# https://docs.aws.amazon.com/cognito/latest/developerguide/cognito-user-pools-assign-domain-prefix.html
_PREFIX = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_RESERVED = ("aws", "amazon", "cognito")
# CloudFront takes certificates of this Region alone
# https://docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/cnames-and-https-requirements.html
_CERTIFICATES = "us-east-1"


@checked("InvalidConsole")
class Console(Construct):
    """Define the web console: pages behind CloudFront, their API, and the sign-in of people by Cognito. Stateful.

    The API's function may take the three roles, each in the name of the person, and nothing else: what a role is refused
    on the command line, it is refused here. The group of a person says which roles that are; reads are done as a reader. It shows
    every unit of the account and Region that the roles may read.

    The user pool has the people. In PRODUCTION it stays when it leaves the stack, and is protected from deletion.

    Args:
        scope: Parent.
        id: Construct id.
        business_unit: The unit whose network, key, logs and topic it uses.
        reader: Role of those who read.
        on_call: Role of people on call (docs/operations.md).
        approver: Role of approvers, such as ``ModelRegistry.approver_role``.
        domain: Name of the console, such as ``console.example.com``; a record of DNS points it to the distribution. Default: the
            name that CloudFront gives.
        certificate: Certificate for that name, of us-east-1. Default: CloudFront's own.
        sign_in_prefix: First part of the name at which Cognito signs people in, which no other account of the Region has.
            Default: the unit's name, ``-console-`` and the account.

    Raises:
        ValidationError: If a name is not possible, or domain and certificate do not come together.

    Example:
        >>> console = Console(
        ...     self, "Console", business_unit=unit, reader=reader, on_call=on_call, approver=registry.approver_role
        ... )
        >>> console.url.startswith("https://")
        True
    """

    def __init__(
        self,
        scope: Construct,
        id: str,
        *,
        business_unit: IBusinessUnit,
        reader: iam.IRole,
        on_call: iam.IRole,
        approver: iam.IRole,
        domain: str | None = None,
        certificate: acm.ICertificate | None = None,
        sign_in_prefix: str | None = None,
    ) -> None:
        super().__init__(scope, id)
        self._unit = business_unit
        raise_if_any(self, "InvalidConsole", self._problems(domain, certificate, sign_in_prefix))
        stack = stack_values(self)
        roles = {Role.READER: reader, Role.ON_CALL: on_call, Role.APPROVER: approver}
        self._function_role = stack.format_arn(
            service="iam", region="", resource="role", resource_name=role_name(self, business_unit)
        )
        self._admit(roles)
        sign_in = define_sign_in(
            self,
            business_unit=business_unit,
            domain_prefix=f"{business_unit.name}-console-{stack.account}" if sign_in_prefix is None else sign_in_prefix,
        )
        function = define_console_function(self, business_unit=business_unit, roles=roles)
        self._api = define_api(self, business_unit=business_unit, function=function, sign_in=sign_in)
        self._alarm = define_alarm(self, business_unit=business_unit)
        hosting = define_hosting(
            self,
            business_unit=business_unit,
            api=self._api,
            sign_in_origin=sign_in.origin,
            domain=domain,
            certificate=certificate,
        )
        client = define_client(self, sign_in, origin=hosting.origin)
        publish_pages(
            self,
            hosting,
            business_unit=business_unit,
            config={
                "signIn": {
                    "kind": "cognito",
                    "domain": sign_in.origin,
                    "clientId": client.user_pool_client_id,
                    "scopes": ["openid", ACCESS_SCOPE],
                },
                "api": "/api",
            },
        )
        self._pool, self._hosting = sign_in.pool, hosting
        business_unit.tag(self)

    @property
    def url(self) -> str:
        """Address of the console, without a slash at its end."""
        return self._hosting.origin

    @property
    def user_pool(self) -> cognito.UserPool:
        """The people; its groups ``reader``, ``on-call`` and ``approver`` say in which roles they act."""
        return self._pool

    @property
    def distribution(self) -> cloudfront.Distribution:
        """The distribution of the pages, and of the API below ``/api/``."""
        return self._hosting.distribution

    @property
    def rest_api(self) -> gateway.RestApi:
        """The API."""
        return self._api

    @property
    def function_role_arn(self) -> str:
        """ARN of the role in which the API's function takes the others: what the trust of imported roles names."""
        return self._function_role

    @property
    def alarms(self) -> dict[str, cloudwatch.Alarm]:
        """The alarm ``errors`` of answers with 5xx."""
        return {"errors": self._alarm}

    def _admit(self, roles: dict[Role, iam.IRole]) -> None:
        for kind, role in roles.items():
            if isinstance(role, iam.Role):
                admit(role, function_role=self._function_role)
            else:
                warn(self, CONSOLE_ROLE_TRUST, kind=kind.value, role=role.node.path)

    def _problems(
        self, domain: str | None, certificate: acm.ICertificate | None, sign_in_prefix: str | None
    ) -> list[str | None]:
        region = None if certificate is None else _region(certificate)
        prefix = f"{self._unit.name}-console" if sign_in_prefix is None else sign_in_prefix
        reserved = [word for word in _RESERVED if word in prefix]
        return [
            check_pattern(
                "domain", domain, pattern=_DOMAIN, allowed="a name of DNS in lower case, such as console.example.com"
            ),
            "domain and certificate must come together: CloudFront answers to a name only with a certificate for it, got "
            f"{'domain' if certificate is None else 'certificate'} alone"
            if (domain is None) != (certificate is None)
            else None,
            f"certificate must be of {_CERTIFICATES}, from where CloudFront takes it, got one of {region}"
            if region not in (None, _CERTIFICATES)
            else None,
            check_pattern(
                "sign_in_prefix",
                sign_in_prefix,
                pattern=_PREFIX,
                allowed="1 to 63 lower-case letters, digits or hyphens, not at the ends",
            ),
            f"sign_in_prefix must not contain {reserved[0]!r}, which Cognito keeps for itself, got {prefix!r}; give another"
            if reserved
            else None,
        ]


def _region(certificate: acm.ICertificate) -> str | None:
    """Return the Region that a certificate's ARN names, if it is known."""
    arn = certificate.certificate_arn
    return cdk.Arn.split(arn, cdk.ArnFormat.SLASH_RESOURCE_NAME).region if is_known(arn) else None
