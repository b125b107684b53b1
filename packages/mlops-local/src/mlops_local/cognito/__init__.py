"""Cognito's hosted pages and tokens where MiniStack differs: second factor, browser sessions, refresh tokens."""

from mlops_local.cognito import (
    browser_sessions,
    factor_pages,
    login_branding,
    pool_settings,
    refreshed_tokens,
    second_factor,
    token_rotation,
)


def install() -> None:
    """Install the hosted pages and the token endpoint."""
    pool_settings.install()
    second_factor.install()
    factor_pages.install()  # before sessions, which begin after the second factor
    browser_sessions.install()
    login_branding.install()
    refreshed_tokens.install()
    token_rotation.install()
