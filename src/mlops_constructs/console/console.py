"""The web console of an account: pages and API on one origin, with sign-in by Cognito and authorization by IAM."""

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
# CloudFront requires certificates of this Region
# https://docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/cnames-and-https-requirements.html
_CERTIFICATES = "us-east-1"


@checked("InvalidConsole")
class Console(Construct):
    """The web console: pages behind CloudFront, their API, and sign-in by Amazon Cognito. Stateful.

    The API's function may only assume the three roles, on behalf of the signed-in person: an action that IAM denies to the role in
    the CLI is denied here too. A person's Cognito groups determine the roles; reads always use the reader role. The console shows
    all units of the account and Region that the roles may read.

    The user pool contains the people. In PRODUCTION it is retained when it leaves the stack, and protected from deletion.

    Args:
        scope: Parent.
        id: Construct id.
        business_unit: The unit whose network, key, logs and topic the console uses.
        reader: Role for reading.
        on_call: Role of people on call (docs/operations.md).
        approver: Role of approvers, such as ``ModelRegistry.approver_role``.
        domain: Domain name of the console, such as ``console.example.com``, with a DNS record that points to the distribution.
            Default: the distribution's own domain name.
        certificate: Certificate for that name, in us-east-1. Default: CloudFront's own.
        sign_in_prefix: Domain prefix of Cognito's sign-in pages, unique in the Region. Default: the unit's name, ``-console-`` and
            the account.

    Raises:
        ValidationError: If a name is not allowed, or only one of domain and certificate is set.

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
        """Origin of the console, without a trailing slash."""
        return self._hosting.origin

    @property
    def user_pool(self) -> cognito.UserPool:
        """The user pool; its groups ``reader``, ``on-call`` and ``approver`` determine a person's roles."""
        return self._pool

    @property
    def distribution(self) -> cloudfront.Distribution:
        """The distribution of the pages, and of the API under ``/api/``."""
        return self._hosting.distribution

    @property
    def rest_api(self) -> gateway.RestApi:
        """The API."""
        return self._api

    @property
    def function_role_arn(self) -> str:
        """ARN of the role in which the API's function assumes the others; trust policies of imported roles must allow it."""
        return self._function_role

    @property
    def alarms(self) -> dict[str, cloudwatch.Alarm]:
        """The alarm ``errors`` for 5xx responses."""
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
                "domain", domain, pattern=_DOMAIN, allowed="a DNS name in lower case, such as console.example.com"
            ),
            "domain and certificate must be set together: CloudFront accepts a name only with a certificate for it, got only "
            f"{'domain' if certificate is None else 'certificate'}"
            if (domain is None) != (certificate is None)
            else None,
            f"certificate must be in {_CERTIFICATES}, as CloudFront requires, got one in {region}"
            if region not in (None, _CERTIFICATES)
            else None,
            check_pattern(
                "sign_in_prefix",
                sign_in_prefix,
                pattern=_PREFIX,
                allowed="1 to 63 lower-case letters, digits or hyphens, not at the ends",
            ),
            f"sign_in_prefix must not contain {reserved[0]!r}, which Cognito reserves, got {prefix!r}; use another prefix"
            if reserved
            else None,
        ]


def _region(certificate: acm.ICertificate) -> str | None:
    """Return the Region of a certificate's ARN, if it is known."""
    arn = certificate.certificate_arn
    return cdk.Arn.split(arn, cdk.ArnFormat.SLASH_RESOURCE_NAME).region if is_known(arn) else None
