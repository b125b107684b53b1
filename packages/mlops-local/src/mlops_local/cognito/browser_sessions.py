"""Browser sessions at a user pool's pages: for an hour, users need not enter the password again.

Only pools with a domain have pages. ``prompt`` is supported by managed login (a domain with ``ManagedLoginVersion`` 2), and ignored
by the classic pages.
"""

import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import quote

from ministack.services import cognito

from mlops_local.cognito.factor_pages import Answer, issued_code
from mlops_local.cognito.login_branding import is_branded
from mlops_local.saved_state import kept_stores

_COOKIE, _LASTS = "cognito", 3600
_MANAGED = 2  # ManagedLoginVersion of managed login


@dataclass(frozen=True, slots=True)
class BrowserSession:
    """The user who signed in at the pages of a pool, and the time."""

    pool: str
    user: str
    at: float

    def is_valid(self) -> bool:
        """Return whether the session has not expired, and the user may sign in."""
        pool = cognito._get_pool_unscoped(self.pool)
        user = ((pool or {}).get("_users") or {}).get(self.user)
        return user is not None and bool(user.get("Enabled", True)) and time.time() < self.at + _LASTS


_sessions: dict[str, BrowserSession] = kept_stores.leave(
    __name__, "_sessions", {}, why="users sign in again after a restart"
)


def install() -> None:
    """Add sessions to the pages."""
    cognito.handle_oauth2_authorize = partial(_authorized, cognito.handle_oauth2_authorize)
    cognito.handle_login_submit = partial(_signed_in, cognito.handle_login_submit)
    cognito.handle_logout = partial(_signed_out, cognito.handle_logout)


def _authorized(authorize: Any, method: str, path: str, headers: Mapping[str, str], query: dict[str, Any]) -> Answer:
    parameters = {name: cognito._qp(query, name) for name in query}
    pool_id, pool, client = cognito._find_pool_by_client_id(parameters.get("client_id", ""))
    if pool is not None and not (pool.get("Domain") or pool.get("CustomDomain")):
        # claim: cognito-pages-need-a-domain
        error: Answer = cognito._oauth2_error("invalid_request", f"{pool_id} has no domain, so it has no pages")
        return error
    found: Answer = authorize(method, path, headers, query)
    if found[0] != 200 or pool is None or _MANAGED not in (pool.get("_managed_login_versions") or {}).values():
        return found
    if not is_branded(client):
        # claim: cognito-managed-login-needs-a-branding
        text = b"Login pages unavailable. Please contact an administrator."
        return 403, {"Content-Type": "text/html; charset=utf-8"}, text
    # claim: cognito-prompts
    prompts, session = parameters.get("prompt", "").split(), _session(headers, pool_id)
    if session is not None and "login" not in prompts:
        return _code(parameters, session)
    if "none" in prompts:
        back = f"{parameters['redirect_uri']}?error=login_required"
        state = f"&state={quote(parameters['state'])}" if "state" in parameters else ""
        return 302, {"Location": back + state, "Cache-Control": "no-store"}, b""
    return found


def _code(parameters: Mapping[str, str], session: BrowserSession) -> Answer:
    names = ("nonce", "code_challenge", "code_challenge_method", "state")
    found: Answer = cognito._issue_auth_code_redirect(
        parameters["client_id"], session.pool, parameters["redirect_uri"], parameters.get("scope", ""), session.user,
        *(parameters.get(name, "") for name in names),
    )  # fmt: skip
    entry = _entry(found)
    if entry is not None:
        entry["auth_time"] = int(session.at)
    return found


def _signed_in(submit: Any, *request: Any) -> Answer:
    found: Answer = submit(*request)
    entry = _entry(found)
    if entry is None:
        return found
    # claim: cognito-sessions-last-an-hour
    for key in [key for key, each in list(_sessions.items()) if not each.is_valid()]:
        _sessions.pop(key, None)
    key, now = secrets.token_urlsafe(32), time.time()
    # claim: cognito-keeps-the-time-of-the-sign-in
    entry["auth_time"] = int(now)
    _sessions[key] = BrowserSession(entry["pool_id"], entry["username"], now)
    return found[0], {**found[1], "Set-Cookie": _cookie(key, _LASTS)}, found[2]


def _signed_out(logout: Any, method: str, path: str, headers: Mapping[str, str], query: dict[str, Any]) -> Answer:
    found: Answer = logout(method, path, headers, query)
    if found[0] != 302:
        return found
    _, _, client = cognito._find_pool_by_client_id(cognito._qp(query, "client_id"))
    if found[1]["Location"] not in client.get("LogoutURLs", []):
        # claim: cognito-signs-out-to-registered-addresses
        error: Answer = cognito._oauth2_error("invalid_request", "logout_uri is not allowed")
        return error
    _sessions.pop(_key(headers), None)
    return found[0], {**found[1], "Set-Cookie": _cookie("", 0)}, found[2]


def _entry(found: Answer) -> dict[str, Any] | None:
    """Return the record of the authorization code in a redirect to an app."""
    entry: dict[str, Any] | None = cognito._authorization_codes.get(issued_code(found))
    return entry


def _cookie(value: str, seconds: int) -> str:
    return f"{_COOKIE}={value}; Path=/; Max-Age={seconds}; HttpOnly; Secure; SameSite=Lax"


def _key(headers: Mapping[str, str]) -> str:
    try:
        found = SimpleCookie(headers.get("cookie", "")).get(_COOKIE)
    except CookieError:
        return ""
    return "" if found is None else found.value


def _session(headers: Mapping[str, str], pool_id: str) -> BrowserSession | None:
    found = _sessions.get(_key(headers))
    return found if found is not None and found.pool == pool_id and found.is_valid() else None
