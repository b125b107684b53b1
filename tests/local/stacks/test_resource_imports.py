"""Import of a Glue database and a model package group, and resources that cannot be imported."""

import json

import pytest

GROUP = {"Type": "AWS::SageMaker::ModelPackageGroup", "Properties": {"ModelPackageGroupName": "imports-kept"}}
DATABASE = {"Type": "AWS::Glue::Database",
            "Properties": {"CatalogId": "000000000000", "DatabaseInput": {"Name": "imports_kept"}}}  # fmt: skip
TABLE = {"Type": "AWS::Glue::Table",
         "Properties": {"CatalogId": "000000000000", "DatabaseName": "imports_kept", "TableInput": {"Name": "one"}}}  # fmt: skip
ARN = "arn:aws:sagemaker:us-east-1:000000000000:model-package-group/imports-kept"


@pytest.fixture(scope="module")
def kept(cloud):
    """Make the retained resources of a deleted stack: a group, a database and a table in it."""
    cloud.client("sagemaker").create_model_package_group(ModelPackageGroupName="imports-kept")
    glue = cloud.client("glue")
    glue.create_database(DatabaseInput={"Name": "imports_kept"})
    glue.create_table(DatabaseName="imports_kept", TableInput={"Name": "one"})


@pytest.fixture
def change_set(cloud):
    """Make an import change set: ``change_set("stack", Thing=(body, {"Name": ...}))`` returns its description."""
    client = cloud.client("cloudformation")

    def make(stack, **things):
        resources = {name: {**body, "DeletionPolicy": "RetainExceptOnCreate"} for name, (body, _) in things.items()}
        made = client.create_change_set(
            StackName=stack, ChangeSetName="import", ChangeSetType="IMPORT", TemplateBody=json.dumps({"Resources": resources}),
            ResourcesToImport=[{"LogicalResourceId": name, "ResourceType": body["Type"], "ResourceIdentifier": identifier}
                               for name, (body, identifier) in things.items()],
        )  # fmt: skip
        return client.describe_change_set(ChangeSetName=made["Id"])

    return make


def test_a_database_and_a_group_are_imported_with_what_they_hold(cloud, kept, change_set):
    """The stack has their identifiers; the table in the database stays."""
    client = cloud.client("cloudformation")
    found = change_set(
        "imports", Group=(GROUP, {"ModelPackageGroupArn": ARN}), Database=(DATABASE, {"DatabaseName": "imports_kept"})
    )
    assert found["ExecutionStatus"] == "AVAILABLE", found["StatusReason"]
    client.execute_change_set(ChangeSetName=found["ChangeSetId"])
    client.get_waiter("stack_import_complete").wait(StackName="imports", WaiterConfig={"Delay": 1})
    rows = client.describe_stack_resources(StackName="imports")["StackResources"]
    assert {row["LogicalResourceId"]: row["PhysicalResourceId"] for row in rows} == {
        "Group": ARN,
        "Database": "imports_kept",
    }
    assert [table["Name"] for table in cloud.client("glue").get_tables(DatabaseName="imports_kept")["TableList"]] == [
        "one"
    ]


def test_fails_for_what_does_not_exist(change_set):
    """The change set names the missing resource."""
    found = change_set("imports-missing", Database=(DATABASE, {"DatabaseName": "nowhere"}))
    assert (found["Status"], found["ExecutionStatus"]) == ("FAILED", "UNAVAILABLE")
    assert "with identifier 'nowhere' was not found" in found["StatusReason"]


def test_a_glue_table_is_refused_by_name(kept, change_set):
    """CloudFormation cannot import the type; the change set reports that and cannot be executed."""
    found = change_set("imports-table", Table=(TABLE, {"DatabaseName": "imports_kept", "Name": "one"}))
    assert found["ExecutionStatus"] == "UNAVAILABLE"
    assert "AWS::Glue::Table" in found["StatusReason"]
