"""Personal fields are hashed with a key or not sent.

A client of an endpoint, by SageMaker or by its own address.
"""

import hashlib
import hmac
import io
import json
import re
from dataclasses import replace
from typing import Any

import pytest
from botocore.exceptions import ClientError
from hypothesis import given
from hypothesis import strategies as st

from mlops_runtime.contracts.serving import PersonalSpec
from mlops_runtime.contracts.unit_entries import EndpointEntry
from mlops_runtime.serving.endpoint_client import EndpointClient, EndpointError, PersonalDataError, Protector

KEY = b"k" * 32
SPEC = PersonalSpec(hashed=("household",), withheld=("email",))


ENTRY = EndpointEntry(
    endpoint="crm-churn",
    unit="crm",
    group="crm-churn",
    rollout_table="t",
    deploy_machine="m",
    target="sagemaker",
    is_monitored=True,
)
PERSONAL = PersonalSpec(hashed=("household",), withheld=("email",), secret_arn="arn:secret")


def test_a_hash_is_hmac_of_field_and_value() -> None:
    """Reproducible with the key and a standard library."""
    row = Protector(SPEC, key=KEY).protect({"household": "h7", "price": 2.5})
    assert row == {"household": hmac.digest(KEY, b"household\x1fh7", hashlib.sha256).hex(), "price": 2.5}


@given(st.text(), st.text())
def test_equal_values_hash_alike_and_others_do_not(one: str, other: str) -> None:
    """Features, labels and segments can still be joined."""
    protector = Protector(SPEC, key=KEY)
    hashes = [protector.protect({"household": value})["household"] for value in (one, other)]
    assert all(re.fullmatch(r"[0-9a-f]{64}", found) for found in hashes)
    assert (hashes[0] == hashes[1]) == (one == other)


@given(st.dictionaries(st.sampled_from(["household", "email", "price", "store"]), st.text(min_size=4, max_size=20)))
def test_what_is_sent_holds_no_personal_value(row: dict[str, str]) -> None:
    """No hashed or withheld value is sent; all others are unchanged."""
    body = json.dumps({"instances": [row]}).encode()
    (sent,) = json.loads(Protector(SPEC, key=KEY).protect_body(body, "application/json"))["instances"]
    assert "email" not in sent
    assert sent.get("household") != row.get("household") or "household" not in row
    assert {k: v for k, v in sent.items() if k != "household"} == {
        k: v for k, v in row.items() if k not in ("household", "email")
    }


def test_numbers_that_are_equal_hash_alike_and_null_stays_null() -> None:
    """A household's number may be an integer or a float."""
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
        (b'{"instances": [[1, 2]]}', "application/json", "can only be identified in objects"),
        (b'{"rows": [{"household": 1}]}', "application/json", "can only be identified in objects"),
        (b'{"instances": [{}], "email": "a"}', "application/json", "must have only instances, got 'email'"),
        (
            b'{"instances": [{"Household": 7, "EMAIL": "a"}]}',
            "application/json",
            "field 'Household' resembles 'household', which is personal, .*; field 'EMAIL' resembles 'email'",
        ),
        (
            b'{"instances": [{"price": 2}, {"customer": {"email": "a"}}]}',
            "application/json",
            r"field 'customer' must be one value because fields are personal \(household, email\), got an object, whose contents",
        ),
        (
            b'{"instances": [{"rows": [{"email": "a"}]}]}',
            "application/json",
            "field 'rows' must be one value .* got a list",
        ),
    ],
)
def test_fails_for_a_request_in_which_fields_cannot_be_found(body: bytes, content_type: str, problem: str) -> None:
    """Nothing is sent that might contain them."""
    with pytest.raises(PersonalDataError, match=problem):
        Protector(SPEC, key=KEY).protect_body(body, content_type)


@pytest.mark.parametrize(
    "name",
    [
        "E-Mail", "e_mail", "eMail", "emails", "customer_email", "email_address", "CustomerEMail", "myemail",
        "emaiI", "ema1l", "3mail",
        "household_id", "households", "house hold", "HOUSE_HOLD", "h0usehold",
        "\uff45mail", "e\u200bmail", "\u00e9mail",
        "\u0435mail", "em\u0430il", "hous\u0435hold", "\u03b5mail", "\u2148mail ",  # Cyrillic, Greek, a mathematical letter
        "gr\u00f6\u00dfe", "price\u200b",
    ],
)  # fmt: skip
def test_fails_for_a_name_that_looks_like_a_personal_one(name: str) -> None:
    """In other case, words, number or letters; it would be sent unprotected."""
    with pytest.raises(PersonalDataError, match=r"resembles|must be printable ASCII"):
        Protector(SPEC, key=KEY).protect({name: "a@b.example"})
    plain = Protector(replace(SPEC, plain=(name,)), key=KEY)
    assert plain.protect({name: "x"}) == {name: "x"}


def test_other_names_are_sent() -> None:
    """A short personal name matches whole words only."""
    row = {"usage": 1, "price": 2, "manager_visits": 3, "average": 4, "store_2": 5}
    assert Protector(PersonalSpec(withheld=("age", "email"))).protect(row) == row
    with pytest.raises(PersonalDataError, match="field 'customerAge' resembles 'age'"):
        Protector(PersonalSpec(withheld=("age", "email"))).protect({"customerAge": 7})


def test_fails_without_a_key() -> None:
    """A hash without a key could be reversed by trying every household."""
    with pytest.raises(PersonalDataError, match="at least 16 bytes, got 0"):
        Protector(SPEC)
    assert Protector(PersonalSpec(withheld=("email",))).protect({"email": "a", "b": 1}) == {"b": 1}


class Aws:
    """SageMaker's runtime and Secrets Manager with recorded requests."""

    def __init__(self, error: ClientError | None = None) -> None:
        self.requests: list[tuple[str, dict[str, Any]]] = []
        self._error = error

    def client(self, service: str) -> "Aws":
        """Return itself for both services."""
        assert service in ("sagemaker-runtime", "secretsmanager")
        return self

    def get_secret_value(self, **arguments: Any) -> dict[str, Any]:
        """Return the key."""
        self.requests.append(("secret", arguments))
        return {"SecretString": "k" * 64}

    def invoke_endpoint(self, **arguments: Any) -> dict[str, Any]:
        """Predict one."""
        self.requests.append(("invoke", arguments))
        if self._error is not None:
            raise self._error
        return {"Body": io.BytesIO(b'{"predictions": [1.0]}')}


def test_rows_become_predictions() -> None:
    """With the caller's inference id; without personal fields nothing is hashed and no secret is read."""
    aws = Aws()
    assert EndpointClient(ENTRY, client=aws.client).predict([{"price": 2}], inference_id="w1") == [1.0]
    ((_, requested),) = aws.requests
    assert json.loads(requested.pop("Body")) == {"instances": [{"price": 2}]}
    assert requested == {"EndpointName": "crm-churn", "ContentType": "application/json", "InferenceId": "w1"}


def test_personal_fields_do_not_leave_the_client() -> None:
    """The key is read once for all requests."""
    aws = Aws()
    client = EndpointClient(replace(ENTRY, personal=PERSONAL), client=aws.client)
    for _ in range(2):
        client.predict([{"household": "h7", "email": "ann@x.example", "price": 1}])
    assert [name for name, _ in aws.requests] == ["secret", "invoke", "invoke"]
    assert aws.requests[0][1] == {"SecretId": "arn:secret"}
    assert b"h7" not in aws.requests[1][1]["Body"]
    assert b"ann@" not in aws.requests[1][1]["Body"]
    with pytest.raises(PersonalDataError, match="has no names"):
        client.send(b"h7,1", "text/csv")
    assert len(aws.requests) == 3


def test_an_endpoint_that_is_not_there_yet_says_so() -> None:
    """Other errors of AWS are unchanged."""
    missing = ClientError({"Error": {"Code": "ValidationError", "Message": "Endpoint not found"}}, "InvokeEndpoint")
    with pytest.raises(EndpointError, match="serves nothing yet"):
        EndpointClient(ENTRY, client=Aws(missing).client).predict([{}])
    denied = ClientError({"Error": {"Code": "AccessDenied", "Message": "no"}}, "InvokeEndpoint")
    with pytest.raises(ClientError):
        EndpointClient(ENTRY, client=Aws(denied).client).predict([{}])


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ('{"error": "no", "problems": ["a is missing", "b is text"]}', "a is missing; b is text"),
        ('{"error": "column \'price\' is missing"}', "column 'price' is missing"),
        ("no\n rows", "no rows"),
        ("[1]", "[1]"),
    ],
)
def test_what_a_model_refuses_is_said_in_its_own_words(answer: str, message: str) -> None:
    """Without SageMaker's text around them."""
    response: Any = {
        "Error": {
            "Code": "ModelError",
            "Message": f'Received client error (400) from primary with message "{answer}".',
        },
        "OriginalStatusCode": 400,
        "OriginalMessage": answer,
    }
    with pytest.raises(EndpointError) as refused:
        EndpointClient(ENTRY, client=Aws(ClientError(response, "InvokeEndpoint")).client).predict([{}])
    assert str(refused.value) == f"the model of crm-churn returned 400: {message}"
    assert (refused.value.status, refused.value.model_message) == ("400", message)


def test_fails_for_an_address_that_is_none() -> None:
    """A file URL is no service, and nothing listens on port 9."""
    for url, problem in (
        ("file:///etc/passwd", "must be http or https, got 'file:///etc/passwd'"),
        ("http://127.0.0.1:9", "cannot be reached: .*; it is only reachable within its network"),
    ):
        entry = replace(ENTRY, url=url)
        with pytest.raises(EndpointError, match=problem):
            EndpointClient(entry, client=Aws().client).send(b"1", "text/csv")
