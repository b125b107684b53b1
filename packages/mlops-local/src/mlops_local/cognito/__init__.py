"""Cognito's hosted pages and tokens where MiniStack differs: the browser's session, and what a refresh gives."""

from mlops_local.cognito import (
    app_clients,
    browser_sessions,
    login_branding,
    refreshed_tokens,
    temporary_passwords,
    token_rotation,
)


def install() -> None:
    """Take over the hosted pages and the token endpoint."""
    app_clients.install()
    browser_sessions.install()
    login_branding.install()
    refreshed_tokens.install()
    token_rotation.install()
    temporary_passwords.install()
