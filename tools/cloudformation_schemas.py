# /// script
# requires-python = ">=3.11"
# dependencies = ["cfn-lint==1.58.0"]
# ///
"""Write the CloudFormation schemas of the resource types that the embedded cloud records.

Run with `uv run --script tools/cloudformation_schemas.py`. The schemas are CloudFormation's registry schemas, as included in
cfn-lint (MIT-0), without their prose.
"""

import json
import re
from pathlib import Path

from cfnlint.schema.manager import PROVIDER_SCHEMA_MANAGER

TYPES = (
    "AWS::ApplicationAutoScaling::ScalableTarget",
    "AWS::ApplicationAutoScaling::ScalingPolicy",
    "AWS::Athena::NamedQuery",
    "AWS::Budgets::Budget",
    "AWS::CloudWatch::CompositeAlarm",
    "AWS::EC2::EIP",
    "AWS::EC2::FlowLog",
    "AWS::EC2::NatGateway",
    "AWS::EC2::NetworkAcl",
    "AWS::EC2::NetworkAclEntry",
    "AWS::EC2::SecurityGroupEgress",
    "AWS::EC2::SecurityGroupIngress",
    "AWS::EC2::SubnetNetworkAclAssociation",
    "AWS::EKS::AccessEntry",
    "AWS::EKS::Addon",
    "AWS::EKS::PodIdentityAssociation",
    "AWS::EventSchemas::Registry",
    "AWS::EventSchemas::Schema",
    "AWS::Events::EventBusPolicy",
    "AWS::Glue::DataQualityRuleset",
    "AWS::Glue::SecurityConfiguration",
    "AWS::Glue::TableOptimizer",
    "AWS::IAM::OIDCProvider",
    "AWS::LakeFormation::PrincipalPermissions",
    "AWS::LakeFormation::Resource",
    "AWS::Logs::QueryDefinition",
    "AWS::Oam::Link",
    "AWS::Oam::Sink",
)
KEPT = (
    "additionalProperties",
    "createOnlyProperties",
    "definitions",
    "primaryIdentifier",
    "properties",
    "readOnlyProperties",
    "required",
    "typeName",
)
PROSE = ("description", "markdownDescription", "examples", "title", "$comment", "relationshipRef")


def without_prose(value: object, *, names: bool = False) -> object:
    """Remove descriptions; with `names`, the keys are property names, which are all kept."""
    if isinstance(value, dict):
        return {
            key: without_prose(item, names=not names and key in {"properties", "definitions"})
            for key, item in value.items()
            if names or not (key in PROSE or (key == "pattern" and not readable(str(item))))
        }
    return [without_prose(item) for item in value] if isinstance(value, list) else value


def readable(pattern: str) -> bool:
    """Return whether Python can compile a pattern; CloudFormation's are for Java."""
    try:
        re.compile(pattern)
    except re.error:
        return False
    return True


def main() -> None:
    """Write one file per type."""
    folder = Path(__file__).parent.parent / "packages/mlops-local/src/mlops_local" / "schemas"
    for name in TYPES:
        schema = PROVIDER_SCHEMA_MANAGER.get_resource_schema("us-east-1", name).schema
        kept = without_prose({key: schema[key] for key in KEPT if key in schema})
        file = folder / f"{name.replace('::', '-')}.json"
        file.write_text(json.dumps(kept, separators=(",", ":"), sort_keys=True) + "\n", "utf-8")


if __name__ == "__main__":
    main()
