"""How a package is registered, as states; what they do is seen in the machine's test."""

import pytest

from mlops_constructs.retraining._registration import Registration, registration_states
from mlops_runtime.registry.model_package import ALSO_BOUND, BOUND, METADATA

PLAN = Registration(
    group_name="demand-forecast", image_uri="i", code_sha256="c", is_automatic=True, waiting_message={"Message": "m"}
)


@pytest.mark.parametrize("is_automatic", [True, False])
def test_a_package_carries_all_that_an_approval_is_bound_to(is_automatic: bool):
    """And is born pending, whoever approves."""
    states = registration_states(
        Registration(
            group_name="g", image_uri="i", code_sha256="c", is_automatic=is_automatic, waiting_message={"Message": "m"}
        ),
        partition="aws",
    )
    arguments = states["Register"]["Arguments"]
    assert arguments["ModelApprovalStatus"] == "PendingManualApproval"
    assert {*METADATA, *BOUND, *ALSO_BOUND, "container_fields", "container_sha256"} <= set(
        arguments["CustomerMetadataProperties"]
    )
    assert ("Approve" in states) is is_automatic


def test_the_policys_approval_names_its_binding():
    """Preflight compares it with the package."""
    description = registration_states(PLAN, partition="aws")["Approve"]["Arguments"]["ApprovalDescription"]
    assert description.startswith("{% 'approved by policy: '")
    assert "[binding ' & $gate.container_sha256" in description
