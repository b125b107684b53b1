"""Sign-in to the console: a user pool with a group per role, and a public client with PKCE."""

from dataclasses import dataclass

import aws_cdk as cdk
from aws_cdk import aws_cognito as cognito

from constructs import Construct
from mlops_constructs._unit_resources import resource_of
from mlops_constructs.unit_interface import IBusinessUnit
from mlops_runtime.console.route import Role

RESOURCE_SERVER, SCOPE = "console", "use"
# scope that the pages request and the API requires, in Cognito's format
ACCESS_SCOPE = f"{RESOURCE_SERVER}/{SCOPE}"
_GROUPS = {
    "Readers": (Role.READER, "Read what the console shows"),
    "PeopleOnCall": (Role.ON_CALL, "Roll back, abort, pause, resume, retrain"),
    "Approvers": (Role.APPROVER, "Approve and reject packages"),
}
_WORKING_DAY = cdk.Duration.hours(12)
# two tabs may refresh the same token at once
_ROTATION_GRACE = cdk.Duration.seconds(10)


@dataclass(frozen=True, slots=True, kw_only=True)
class SignIn:
    """The user pool, its scope and its origin.

    Args:
        pool: The user pool.
        scope: Scope that the API requires.
        origin: Origin of Cognito's sign-in pages and token endpoint.
    """

    pool: cognito.UserPool
    scope: cognito.OAuthScope
    origin: str


def define_sign_in(scope: Construct, *, business_unit: IBusinessUnit, domain_prefix: str) -> SignIn:
    """Define the user pool: users are created by an administrator, sign in with a username, and need a second factor.

    The username becomes the IAM session name and is written to the audit records, so it is not generated.

    Args:
        scope: Parent.
        business_unit: The unit; provides the removal policy.
        domain_prefix: Domain prefix of Cognito's sign-in pages.
    """
    pool = cognito.UserPool(
        scope,
        "People",
        self_sign_up_enabled=False,
        sign_in_aliases=cognito.SignInAliases(username=True),
        sign_in_case_sensitive=False,
        standard_attributes=cognito.StandardAttributes(email=cognito.StandardAttribute(required=True, mutable=True)),
        auto_verify=cognito.AutoVerifiedAttrs(email=True),
        account_recovery=cognito.AccountRecovery.EMAIL_ONLY,
        mfa=cognito.Mfa.REQUIRED,
        # no SMS: it costs, needs a role of its own, and is the weakest factor
        mfa_second_factor=cognito.MfaSecondFactor(sms=False, otp=True),
        password_policy=cognito.PasswordPolicy(
            min_length=14,
            require_digits=True,
            require_lowercase=True,
            require_uppercase=True,
            require_symbols=True,
            temp_password_validity=cdk.Duration.days(3),
        ),
        feature_plan=cognito.FeaturePlan.PLUS,
        standard_threat_protection_mode=cognito.StandardThreatProtectionMode.FULL_FUNCTION,
        deletion_protection=business_unit.profile.keeps_data,
        removal_policy=business_unit.profile.removal_policy,
    )
    for group, (role, description) in _GROUPS.items():
        cognito.CfnUserPoolGroup(
            scope, group, user_pool_id=pool.user_pool_id, group_name=role.value, description=description
        )
    use = cognito.ResourceServerScope(scope_name=SCOPE, scope_description="Use the console")
    server = pool.add_resource_server("Api", identifier=RESOURCE_SERVER, scopes=[use])
    domain = pool.add_domain(
        "Domain",
        cognito_domain=cognito.CognitoDomainOptions(domain_prefix=domain_prefix),
        # the classic hosted UI ignores `prompt`: no silent sign-in, and no re-authentication before critical actions
        # claim: cognito-prompts
        managed_login_version=cognito.ManagedLoginVersion.NEWER_MANAGED_LOGIN,
    )
    return SignIn(pool=pool, scope=cognito.OAuthScope.resource_server(server, use), origin=domain.base_url())


def define_client(scope: Construct, sign_in: SignIn, *, origin: str) -> cognito.UserPoolClient:
    """Define the app client of the pages: authorization code grant only, without a client secret, which a page cannot protect.

    Args:
        scope: Parent.
        sign_in: The user pool.
        origin: Origin of the pages, to which Cognito redirects.
    """
    client = cognito.UserPoolClient(
        scope,
        "Pages",
        user_pool=sign_in.pool,
        generate_secret=False,
        o_auth=cognito.OAuthSettings(
            flows=cognito.OAuthFlows(authorization_code_grant=True),
            scopes=[cognito.OAuthScope.OPENID, sign_in.scope],
            callback_urls=[f"{origin}/"],
            logout_urls=[f"{origin}/"],
        ),
        supported_identity_providers=[cognito.UserPoolClientIdentityProvider.COGNITO],
        prevent_user_existence_errors=True,
        enable_token_revocation=True,
        access_token_validity=cdk.Duration.hours(1),
        id_token_validity=cdk.Duration.hours(1),
        refresh_token_validity=_WORKING_DAY,
        refresh_token_rotation_grace_period=_ROTATION_GRACE,
    )
    resource = resource_of(client, cognito.CfnUserPoolClient)
    # by default Cognito also allows REFRESH_TOKEN_AUTH, which would bypass rotation and is rejected together with it
    # https://docs.aws.amazon.com/cognito/latest/developerguide/amazon-cognito-user-pools-using-the-refresh-token.html
    resource.explicit_auth_flows = ["ALLOW_USER_SRP_AUTH"]
    cognito.CfnManagedLoginBranding(
        scope,
        "Branding",
        # without a branding Cognito returns 403 instead of its sign-in page
        # claim: cognito-managed-login-needs-a-branding
        user_pool_id=sign_in.pool.user_pool_id,
        client_id=client.user_pool_client_id,
        use_cognito_provided_values=True,
    )
    return client
