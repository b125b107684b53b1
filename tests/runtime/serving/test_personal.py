"""Personal fields are hashed with a key, or not sent at all."""

import hashlib
import hmac
import json
import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlops_runtime.contracts.serving import PersonalSpec
from mlops_runtime.serving.personal import PersonalDataError, Protector

KEY = b"k" * 32
SPEC = PersonalSpec(hashed=("household",), withheld=("email",))


def test_a_hash_is_hmac_of_field_and_value() -> None:
    """Anyone with the key can make it again with a standard library."""
    row = Protector(SPEC, key=KEY).protect({"household": "h7", "price": 2.5})
    assert row == {"household": hmac.digest(KEY, b"household\x1fh7", hashlib.sha256).hex(), "price": 2.5}


@given(st.text(), st.text())
def test_equal_values_hash_alike_and_others_do_not(one: str, other: str) -> None:
    """So that features, labels and segments still join."""
    protector = Protector(SPEC, key=KEY)
    hashes = [protector.protect({"household": value})["household"] for value in (one, other)]
    assert all(re.fullmatch(r"[0-9a-f]{64}", found) for found in hashes)
    assert (hashes[0] == hashes[1]) == (one == other)


@given(st.dictionaries(st.sampled_from(["household", "email", "price", "store"]), st.text(min_size=4, max_size=20)))
def test_what_is_sent_holds_no_personal_value(row: dict[str, str]) -> None:
    """Neither hashed nor withheld values; all others are untouched."""
    body = json.dumps({"instances": [row]}).encode()
    (sent,) = json.loads(Protector(SPEC, key=KEY).protect_body(body, "application/json"))["instances"]
    assert "email" not in sent
    assert sent.get("household") != row.get("household") or "household" not in row
    assert {k: v for k, v in sent.items() if k != "household"} == {
        k: v for k, v in row.items() if k not in ("household", "email")
    }


def test_numbers_that_are_equal_hash_alike_and_null_stays_null() -> None:
    """A household's number may come as an integer or as a float."""
    protector = Protector(SPEC, key=KEY)
    assert protector.protect({"household": 7}) == protector.protect({"household": 7.0})
    assert protector.protect({"household": None}) == {"household": None}


@pytest.mark.parametrize(
    ("body", "content_type", "problem"),
    [
        (b"1,2", "text/csv", "household, email of this endpoint are personal, and text/csv has no names"),
        (b"{", "application/json", "the request is not JSON"),
        (b"\xff", "application/json", "the request is not JSON"),
        (b"[" * 100_000, "application/json", "the request is not JSON"),
        (b'{"instances": [[1, 2]]}', "application/json", "can be found in objects only"),
        (b'{"rows": [{"household": 1}]}', "application/json", "can be found in objects only"),
        (b'{"instances": [{}], "email": "a"}', "application/json", "instances and nothing else, got 'email'"),
        (
            b'{"instances": [{"Household": 7, "EMAIL": "a"}]}',
            "application/json",
            "field 'Household' reads like 'household', which is personal, .*; field 'EMAIL' reads like 'email'",
        ),
        (
            b'{"instances": [{"price": 2}, {"customer": {"email": "a"}}]}',
            "application/json",
            r"field 'customer' must be one value where fields are personal \(household, email\), got an object, in which none",
        ),
        (
            b'{"instances": [{"rows": [{"email": "a"}]}]}',
            "application/json",
            "field 'rows' must be one value .* got a list",
        ),
    ],
)
def test_fails_for_a_request_in_which_fields_cannot_be_found(body: bytes, content_type: str, problem: str) -> None:
    """Nothing is sent that might hold them."""
    with pytest.raises(PersonalDataError, match=problem):
        Protector(SPEC, key=KEY).protect_body(body, content_type)


@pytest.mark.parametrize(
    "name",
    [
        "E-Mail", "e_mail", "eMail", "emails", "customer_email", "email_address", "CustomerEMail", "myemail",
        "emaiI", "ema1l", "3mail",
        "household_id", "households", "house hold", "HOUSE_HOLD", "h0usehold",
        "\uff45mail", "e\u200bmail", "\u00e9mail",
        "\u0435mail", "em\u0430il", "hous\u0435hold", "\u03b5mail", "\u2148mail ",  # Cyrillic, Greek, a letter of mathematics
        "gr\u00f6\u00dfe", "price\u200b",
    ],
)  # fmt: skip
def test_fails_for_a_name_that_looks_like_a_personal_one(name: str) -> None:
    """In other case, words, number or letters; each would be sent as it is."""
    with pytest.raises(PersonalDataError, match=r"reads like|must be of printable ASCII"):
        Protector(SPEC, key=KEY).protect({name: "a@b.example"})
    plain = Protector(replace(SPEC, plain=(name,)), key=KEY)
    assert plain.protect({name: "x"}) == {name: "x"}


def test_other_names_are_sent() -> None:
    """A short personal name is found as a word, not within one."""
    row = {"usage": 1, "price": 2, "manager_visits": 3, "average": 4, "store_2": 5}
    assert Protector(PersonalSpec(withheld=("age", "email"))).protect(row) == row
    with pytest.raises(PersonalDataError, match="field 'customerAge' reads like 'age'"):
        Protector(PersonalSpec(withheld=("age", "email"))).protect({"customerAge": 7})


def test_fails_without_a_key() -> None:
    """A hash without one could be undone by trying every household."""
    with pytest.raises(PersonalDataError, match="at least 16 bytes, got 0"):
        Protector(SPEC)
    assert Protector(PersonalSpec(withheld=("email",))).protect({"email": "a", "b": 1}) == {"b": 1}
