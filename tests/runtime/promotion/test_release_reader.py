"""The plan of a release, read at its sources."""

from typing import Any

import pytest
from botocore.exceptions import ClientError
from tests.released import Released, release

from mlops_runtime.promotion.release_plan import MAXIMUM_RECORD
from mlops_runtime.promotion.release_reader import ReleaseReader

ONE = release()


class Registry:
    """The source's registry: describes the package, or fails."""

    def __init__(self, description: Any, code: str = "", message: str = "") -> None:
        self._description, self._code, self._message = description, code, message

    def describe_model_package(self, *, ModelPackageName: str) -> Any:  # noqa: N803 - AWS's name
        """DescribeModelPackage."""
        assert ModelPackageName == ONE.record.package.package_arn
        if self._code:
            raise ClientError({"Error": {"Code": self._code, "Message": self._message}}, "DescribeModelPackage")
        return self._description


def _plan(place: Any, released: Released, registry: Registry) -> dict[str, Any]:
    sagemaker: Any = registry
    reader = ReleaseReader(s3=place.s3, sagemaker=sagemaker, table=place.table, target=place.target)
    return reader.plan(place.arrived(released))


def test_a_release_is_planned(place: Any) -> None:
    """With its copies, the required image, and the audit facts."""
    plan = _plan(place, ONE, Registry(ONE.description))
    assert (plan["verdict"], plan["may_pass"], len(plan["copies"])) == ("TAKEN", False, 4)
    assert plan["copies"][0] == {
        "source": "artifacts/models/demand-forecast/alarm-1/model.tar.gz",
        "incoming": "incoming/demand-forecast/one-1/model.tar.gz",
    }
    assert plan["image"]["repository"] == "mlops-runtime"
    assert plan["facts"]["source_record"] == ONE.record.audit_hash


@pytest.mark.parametrize(
    ("registry", "may_pass", "named"),
    [
        (Registry({**ONE.description, "ModelApprovalStatus": "Rejected"}), False, "is Rejected"),
        (
            Registry(None, "AccessDeniedException", "no resource-based policy allows"),
            True,
            "no resource-based policy allows",
        ),
        (
            Registry(None, "ValidationException", "ModelPackage does not exist"),
            False,
            "is no longer in the source's registry",
        ),
    ],
)
def test_a_source_that_does_not_say_so_is_a_refusal(place: Any, registry: Registry, may_pass: bool, named: str) -> None:
    """Access between the accounts may be fixed, and the release taken then."""
    plan = _plan(place, ONE, registry)
    assert (plan["verdict"], plan["may_pass"]) == ("REFUSED", may_pass)
    assert named in plan["reason"]


def test_an_older_release_is_refused(place: Any) -> None:
    """By the newest taken release."""
    place.table.take(released_at="2017-08-01T08:59:30.000000+00:00", sha256="e" * 64)
    assert _plan(place, ONE, Registry(ONE.description))["reason"].startswith("stale")


def test_a_large_record_is_not_read(place: Any) -> None:
    """A release has one package and at most four objects."""
    plan = _plan(place, ONE.changed(approval="x" * MAXIMUM_RECORD), Registry(None))
    assert "must have at most" in plan["reason"]
