"""The changes of an update, compared with the table of replacements."""

import json
from importlib import resources
from pathlib import Path

import pytest
from tests.campaign.lifecycle import changes

TABLE = json.loads(resources.files("mlops_cli").joinpath("replacement.json").read_text())["types"]


def test_a_change_replaces_nothing() -> None:
    """Each property is one that its type updates in place."""
    wrong = {
        kind: name
        for kind, (name, _) in changes._CHANGES.items()
        if kind in TABLE and name.replace(".", "/") in TABLE[kind].get("create_only", ())
    }
    assert wrong == {}


@pytest.mark.parametrize(("kind", "readable"), [
    ("AWS::EC2::SubnetRouteTableAssociation", {"RouteTableId", "SubnetId"}),
    ("AWS::Lambda::LayerVersion", {"CompatibleArchitectures", "CompatibleRuntimes", "Content", "Description", "LayerName",
                                   "LicenseInfo"}),
    ("AWS::Lambda::Permission", {"Action", "EventSourceToken", "FunctionName", "FunctionUrlAuthType", "InvokedViaFunctionUrl",
                                 "Principal", "PrincipalOrgID", "SourceAccount", "SourceArn"}),
])  # fmt: skip
def test_what_never_updates_has_no_property_that_does(kind: str, readable: set[str]) -> None:
    """All properties of the type replace it."""
    assert set(TABLE[kind]["create_only"]) == readable
    assert changes.changed_property(kind) is None
    assert kind in changes.NEVER_UPDATED


def test_every_resource_of_a_template_is_another_after_its_change(tmp_path: Path) -> None:
    """Names a resource that its change leaves as it is, whose cell would have no effect."""
    template = {
        "Resources": {
            "Queue": {"Type": "AWS::SQS::Queue", "Properties": {}},
            "Sweep": {"Type": "Custom::BucketSweep", "Properties": {"ServiceTimeout": "960"}},
            "Allowed": {"Type": "AWS::Lambda::Permission", "Properties": {"Action": "lambda:InvokeFunction"}},
        }
    }
    file = tmp_path / "First.template.json"
    file.write_text(json.dumps(template))

    changes.put_changes(tmp_path, "First")

    found = json.loads(file.read_text())["Resources"]
    assert found["Queue"]["Properties"] == {"ReceiveMessageWaitTimeSeconds": 1}
    assert found["Sweep"]["Properties"] == {"ServiceTimeout": "961"}
    assert found["Allowed"] == template["Resources"]["Allowed"]
    with pytest.raises(ValueError, match=r"Queue .* must differ"):
        changes.put_changes(tmp_path, "First")
