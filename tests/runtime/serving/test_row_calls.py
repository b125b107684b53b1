"""Many rows in calls of bounded size, with their ids written before."""

import io
import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from botocore.exceptions import ClientError

from mlops_runtime.contracts.serving import PersonalSpec
from mlops_runtime.contracts.unit_entries import EndpointEntry
from mlops_runtime.serving import row_calls
from mlops_runtime.serving.endpoint_client import EndpointError, PersonalDataError
from mlops_runtime.serving.row_calls import AnsweredCall, RowCalls

ENTRY = EndpointEntry(
    endpoint="crm-churn",
    unit="crm",
    group="crm-churn",
    rollout_table="t",
    deploy_machine="m",
    target="sagemaker",
    is_monitored=True,
    capture_bucket="captures",
)


class Cloud:
    """All clients in one: an endpoint that doubles the price, and a bucket; ``log`` has calls and objects in order."""

    def __init__(self) -> None:
        self.log: list[tuple[str, Any]] = []

    def __call__(self, _: str) -> Any:
        """Return the client of a service."""
        return self

    def put_object(self, **request: Any) -> None:
        """Store the ids of calls."""
        self.log.append(("ids", [json.loads(line)["ids"] for line in request["Body"].splitlines()]))

    def invoke_endpoint(self, **request: Any) -> Mapping[str, Any]:
        """Respond, or reject a negative price like a model's server, or a price of 13 like a busy service."""
        rows = json.loads(request["Body"])["instances"]
        self.log.append((request.get("InferenceId", ""), rows))
        prices = [row["price"] for row in rows]
        if min(prices) < 0:
            answer = {
                "Error": {"Code": "ModelError", "Message": "x"},
                "OriginalStatusCode": 400,
                "OriginalMessage": "no",
            }
            raise ClientError(answer, "InvokeEndpoint")  # type: ignore[arg-type]  # what botocore gives for this error
        if 13 in prices:
            raise ClientError({"Error": {"Code": "ThrottlingException", "Message": "busy"}}, "InvokeEndpoint")
        predictions = prices[1:] if 7 in prices else [2 * price for price in prices]
        return {"Body": io.BytesIO(json.dumps({"predictions": predictions}).encode())}


@pytest.fixture
def cloud() -> Cloud:
    """Return an endpoint and a bucket."""
    return Cloud()


def _calls(cloud: Cloud, entry: EndpointEntry = ENTRY) -> RowCalls:
    return RowCalls(entry, client=cloud, now=lambda: datetime(2017, 8, 7, 12, tzinfo=UTC), workers=2)


def _rows(*prices: float) -> Iterator[Mapping[str, object]]:
    return ({"price": price} for price in prices)


def test_rows_are_cut_and_answers_keep_their_order(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the number of rows or the size of the body."""
    monkeypatch.setattr(row_calls, "MAX_ROWS", 2)
    answers = list(_calls(cloud).send(_rows(1, 2, 3, 4, 5)))
    assert [(answer.first, answer.predictions) for answer in answers] == [(1, (2, 4)), (3, (6, 8)), (5, (10,))]
    monkeypatch.setattr(row_calls, "MAX_BYTES", 60)
    wide: list[Mapping[str, object]] = [{"price": 1, "note": "x" * 30}, {"price": 2}, {"price": 3}]
    assert [answer.rows for answer in _calls(cloud).send(wide)] == [1, 2]


def test_ids_are_written_before_the_calls(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    """One batch at a time; a call of one row has its id as inference id."""
    monkeypatch.setattr(row_calls, "MAX_ROWS", 2)
    monkeypatch.setattr(row_calls, "_BATCH", 1)
    answers = list(_calls(cloud).send(_rows(1, 2, 3), ["a", "b", "c"]))
    assert [answer.ids for answer in answers] == [("a", "b"), ("c",)]
    assert cloud.log[0] == ("ids", [["a", "b"]])
    assert cloud.log[1][0].startswith("rows-2017080712-")
    assert cloud.log[2:] == [("ids", [["c"]]), ("c", [{"price": 3}])]


def test_what_is_refused_is_an_answer_too(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the status of the model's server, or else the service's code; later calls continue."""
    monkeypatch.setattr(row_calls, "MAX_ROWS", 1)
    answers = list(_calls(cloud).send(_rows(-1, 13, 7, 1), first=10))
    assert [(answer.first, answer.status, answer.problem) for answer in answers] == [
        (10, "400", "no"),
        (11, "ThrottlingException", "busy"),
        (12, "not an answer", "the answer has 0 predictions for 1 rows"),
        (13, "200", None),
    ]
    assert answers[3] == AnsweredCall(first=13, rows=1, predictions=(2,))


def test_personal_fields_are_protected_row_by_row(cloud: Cloud) -> None:
    """Withheld values are never sent; a similarly named field is rejected."""
    calls = _calls(cloud, replace(ENTRY, personal=PersonalSpec(withheld=("email",))))
    list(calls.send([{"price": 1, "email": "ann@x.example"}]))
    assert cloud.log == [("", [{"price": 1}])]
    with pytest.raises(PersonalDataError, match="field 'Email' resembles 'email'"):
        list(calls.send([{"price": 1, "Email": "ann@x.example"}]))


def test_fails_on_ids_that_no_label_could_use(cloud: Cloud) -> None:
    """Without capture, or of a personal column."""
    with pytest.raises(
        EndpointError, match="endpoint 'crm-churn' captures nothing, so rows with ids could not be joined"
    ):
        _calls(cloud, replace(ENTRY, capture_bucket=None)).check_ids("order")
    calls = _calls(cloud, replace(ENTRY, personal=PersonalSpec(withheld=("email",))))
    calls.check_ids("order")
    with pytest.raises(PersonalDataError, match="column 'email' is personal, and ids are sent and stored unchanged"):
        calls.check_ids("email")
