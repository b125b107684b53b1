"""Resources that a deployment would create under a name known beforehand."""

import json
from dataclasses import replace
from typing import Any

from mlops_runtime.changes import Existing, NamedResource, StackChanges, compare, named, refusals_of
from mlops_runtime.changes.template import Template

DATABASE = {"Type": "AWS::Glue::Database", "Properties": {"DatabaseInput": {"Name": "demand_features"}}}
TABLE = {"Type": "AWS::Glue::Table", "Properties": {"DatabaseName": {"Ref": "Database"}, "Name": "sales_v1"}}
BUCKET = {"Type": "AWS::S3::Bucket", "Properties": {"BucketName": {"Fn::Sub": "data-${AWS::AccountId}"}}}
GROUP = {
    "Type": "AWS::SageMaker::ModelPackageGroup",
    "Properties": {"ModelPackageGroupName": "demand-forecast"},
    "Metadata": {"aws:cdk:path": "Demand/Registry/Resource"},
}


def planned(new: dict[str, Any], deployed: dict[str, Any] | None = None, **values: str) -> list[NamedResource]:
    """Names that the deployment of a template would create."""
    old = None if deployed is None else Template(document={"Resources": deployed})
    template = Template(document={"Resources": new}, values=values)
    changes: StackChanges = compare("Demand", old, template, {})
    return list(named(changes, template))


def test_fixed_names_of_a_new_stack_are_known() -> None:
    """A table is within its database, also where the template refers to it; the construct's path is kept."""
    found = planned({"Database": DATABASE, "Table": TABLE, "Group": GROUP})

    assert [(one.type, one.parent, one.name) for one in found] == [
        ("AWS::Glue::Database", "", "demand_features"),
        ("AWS::Glue::Table", "demand_features", "sales_v1"),
        ("AWS::SageMaker::ModelPackageGroup", "", "demand-forecast"),
    ]
    assert found[2].construct_path == "Demand/Registry/Resource"


def test_what_is_deployed_or_only_known_later_is_left_out() -> None:
    """An update names what it adds alone; a name of which a part is not known is not looked at."""
    assert [one.logical_id for one in planned({"Database": DATABASE, "Group": GROUP}, {"Group": GROUP})] == ["Database"]
    assert planned({"Bucket": BUCKET, "Unnamed": {"Type": "AWS::S3::Bucket"}}) == []
    (known,) = planned({"Bucket": BUCKET}, **{"AWS::AccountId": "123456789012"})
    assert known.name == "data-123456789012"


def test_only_what_exists_is_refused() -> None:
    """The reason names the import, or says that there is none; what could not be looked at is no reason."""
    group, _, table = planned({"Group": GROUP, "Database": DATABASE, "Table": TABLE})
    arn = "arn:aws:sagemaker:us-east-1:123456789012:model-package-group/demand-forecast"

    mapping = json.dumps({"Group": {"ModelPackageGroupArn": arn}}, separators=(",", ":"))
    found = refusals_of(
        [
            Existing(resource=group, identifier={"ModelPackageGroupArn": arn}),
            Existing(resource=table, identifier={}),
            Existing(resource=replace(table, type="AWS::IAM::Role", name="send", parent=""), identifier={}),
            Existing(resource=table, identifier={}, reason="GetTable answers AccessDeniedException"),
        ]
    )

    assert found == [
        "Group (AWS::SageMaker::ModelPackageGroup, Demand/Registry/Resource): demand-forecast already exists; adopt all "
        "resources that a deleted stack retained with mlops plan Demand --mapping adopt.json (docs/adopt.md), or only this one "
        f"with cdk import Demand --resource-mapping-inline '{mapping}', or delete it if it is not "
        "needed",
        "Table (AWS::Glue::Table): demand_features/sales_v1 already exists; CloudFormation cannot import its type: "
        "see docs/adopt.md to keep its content, or delete it if it is not needed",
        "Table (AWS::IAM::Role): send already exists; import it into the stack with cdk import Demand, or delete it if it is not "
        "needed",
    ]
