"""The one DynamoDB table: on demand, the unit's key, recovery to any second of the last 35 days."""

from aws_cdk import aws_dynamodb as dynamodb

from constructs import Construct
from mlops_constructs.compliance import acknowledge_family
from mlops_constructs.unit_interface import IBusinessUnit

_BACKUP = "it can be restored to any second of 35 days; a nightly backup plan beside that would only recover older, worse states"


def define_table(
    scope: Construct,
    id: str,
    *,
    business_unit: IBusinessUnit,
    partition_key: str,
    sort_key: str | None = None,
    ttl: str | None = None,
) -> dynamodb.Table:
    """Define a table with text keys.

    It is not protected against deletion: a protected table stays when a failed creation is rolled back. In PRODUCTION the stack
    keeps it, no role of the library may delete it, and DynamoDB keeps a backup of a deleted table with recovery for 35 days.
    See: https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/PointInTimeRecovery_Howitworks.html

    Args:
        scope: Parent.
        id: Construct id.
        business_unit: The unit; gives key and removal policy.
        partition_key: Attribute of the partition key.
        sort_key: Attribute of the sort key. Default: there is none.
        ttl: Attribute with the epoch second after which an item is deleted. Default: items stay.
    """
    table = dynamodb.Table(
        scope,
        id,
        partition_key=dynamodb.Attribute(name=partition_key, type=dynamodb.AttributeType.STRING),
        sort_key=None if sort_key is None else dynamodb.Attribute(name=sort_key, type=dynamodb.AttributeType.STRING),
        billing_mode=dynamodb.BillingMode.PAY_PER_REQUEST,
        encryption=dynamodb.TableEncryption.CUSTOMER_MANAGED,
        encryption_key=business_unit.key,
        point_in_time_recovery_specification=dynamodb.PointInTimeRecoverySpecification(
            point_in_time_recovery_enabled=True
        ),
        time_to_live_attribute=ttl,
        removal_policy=business_unit.profile.removal_policy,
    )
    acknowledge_family(table, "DynamoDBInBackupPlan", _BACKUP)
    return table
