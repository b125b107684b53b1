"""Cognito's hosted pages and tokens where MiniStack differs: second factor, browser sessions, refresh tokens."""

from mlops_local.cognito import (
    app_clients,
    browser_sessions,
    factor_pages,
    login_branding,
    refreshed_tokens,
    second_factor,
    temporary_passwords,
    token_rotation,
)


def install() -> None:
    """Install the hosted pages and the token endpoint."""
    app_clients.install()
    second_factor.install()
    factor_pages.install()  # before sessions, which begin after the second factor
    browser_sessions.install()
    login_branding.install()
    refreshed_tokens.install()
    token_rotation.install()
    temporary_passwords.install()
