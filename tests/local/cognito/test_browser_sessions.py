"""Hosted pages keep a browser signed in for an hour, and give codes only to the requesting app."""

from collections.abc import Callable

import pytest
from tests.local.cognito.conftest import BACK, App, claims


def test_a_browser_with_a_session_is_signed_in_silently(app: App) -> None:
    """Also with prompt none; prompt login asks for the password again."""
    before = app.authorize(prompt="none")
    first = app.sign_in()
    silent, plain, again = app.authorize(prompt="none", state="s2"), app.authorize(), app.authorize(prompt="login")

    assert (before.status, before.back) == (302, {"error": "login_required", "state": "s1"})
    assert "HttpOnly" in first.headers["set-cookie"] and "Max-Age=3600" in first.headers["set-cookie"]
    assert (silent.status, silent.back["state"], "code" in plain.back) == (302, "s2", True)
    assert (again.status, 'name="password"' in again.body) == (200, True)
    assert claims(app.exchange(silent.back["code"]).json["id_token"])["nonce"] == "n1"


def test_classic_pages_do_not_read_prompt(make_app: Callable[..., App]) -> None:
    """The classic pages show the form."""
    app = make_app(version=1)
    assert 'name="password"' in app.authorize(prompt="none").body


def test_a_session_is_of_one_pool_and_of_a_user_who_may_sign_in(make_app: Callable[..., App]) -> None:
    """Another pool's app asks for the password; a disabled user is not signed in."""
    app, other = make_app(), make_app()
    app.sign_in()
    other.cookies = app.cookies
    elsewhere = other.authorize(prompt="none")
    app.cloud.client("cognito-idp").admin_disable_user(UserPoolId=app.pool, Username="ann")

    assert elsewhere.back["error"] == "login_required"
    assert app.authorize(prompt="none").back["error"] == "login_required"


def test_signing_out_ends_the_session(app: App) -> None:
    """Redirects only to a registered address; with another address nothing changes."""
    app.sign_in()
    astray = app.send("GET", f"/logout?client_id={app.id}&logout_uri=https://evil.example/")
    still = app.authorize(prompt="none")
    out = app.send("GET", f"/logout?client_id={app.id}&logout_uri={BACK}")

    assert (astray.status, "code" in still.back) == (400, True)
    assert (out.status, out.headers["location"]) == (302, BACK)
    assert app.authorize(prompt="none").back["error"] == "login_required"


def test_a_pool_without_a_domain_has_no_pages(make_app: Callable[..., App]) -> None:
    """On AWS the pages would have no address."""
    found = make_app(domain=False).authorize()
    assert (found.status, "has no domain" in found.body) == (400, True)


@pytest.mark.parametrize("where", ["https://evil.example/", BACK + "x", BACK.replace("https", "http")])
def test_an_address_that_is_not_registered_gets_no_code(app: App, where: str) -> None:
    """Neither the page, the form, nor a silent sign-in gives a code."""
    found = [app.authorize(redirect_uri=where), app.sign_in(redirect_uri=where)]
    app.sign_in()
    found.append(app.authorize(redirect_uri=where, prompt="none"))

    assert [(each.status, "location" in each.headers) for each in found] == [(400, False)] * 3


def test_a_wrong_password_gives_no_session(app: App) -> None:
    """The page reports the error."""
    assert app.sign_in(password="Bb2!bbbbbb").status == 200
    assert app.cookies == {}


def test_a_code_is_exchanged_once_by_the_verifier_that_it_was_made_for(app: App) -> None:
    """A wrong verifier or another redirect URI gets no tokens."""
    code = app.sign_in().back["code"]
    wrong, missing = app.exchange(code, code_verifier="w" * 43), app.exchange(code, code_verifier="")
    elsewhere = app.exchange(code, redirect_uri="https://evil.example/")
    right, twice = app.exchange(code), app.exchange(code)

    assert [each.json["error"] for each in (wrong, missing, elsewhere, twice)] == ["invalid_grant"] * 4
    assert right.status == 200
