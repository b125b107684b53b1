locals {
  # the contract of mlops-constructs, version 1: a later version stands beside it, under its own number
  prefix = "/mlops-platform/${var.platform}/1"

  lists = ["subnet_ids", "availability_zones"]

  descriptions = {
    vpc_id                    = "Network of the units"
    subnet_ids                = "Private subnets, one a zone, in the order of the zones"
    availability_zones        = "Zones of the subnets"
    key_arn                   = "Key of all data of the units"
    approver_role_arn         = "Role that people approve models in"
    cluster_name              = "EKS cluster of the units"
    cluster_security_group_id = "Security group of that cluster"
  }

  values = {
    vpc_id                    = var.vpc_id
    subnet_ids                = join(",", var.subnet_ids)
    availability_zones        = join(",", var.availability_zones)
    key_arn                   = var.key_arn
    approver_role_arn         = var.approver_role_arn
    cluster_name              = var.cluster_name
    cluster_security_group_id = var.cluster_security_group_id
  }
}

data "aws_caller_identity" "current" {
}

data "aws_partition" "current" {
}

locals {
  # a zone's name starts with its Region's: eu-west-1a, us-west-2-lax-1a
  region  = regex("^[a-z]{2}(?:-[a-z]+)+-[0-9]+", var.availability_zones[0])
  account = data.aws_caller_identity.current.account_id
  root    = "arn:${data.aws_partition.current.partition}:iam::${local.account}:root"
  logs    = "arn:${data.aws_partition.current.partition}:logs:${local.region}:${local.account}:log-group:*"

  use      = ["kms:Decrypt", "kms:DescribeKey", "kms:Encrypt", "kms:GenerateDataKey", "kms:GenerateDataKeyWithoutPlaintext", "kms:ReEncryptFrom", "kms:ReEncryptTo"]
  write    = ["kms:Decrypt", "kms:DescribeKey", "kms:Encrypt", "kms:GenerateDataKey", "kms:ReEncryptFrom", "kms:ReEncryptTo"]
  delivery = ["kms:Decrypt", "kms:GenerateDataKey"]

  # what units need of a key, as mlops_runtime/business_unit/key_policy.py has it
  key_statements = [
    { Sid = "Use", Effect = "Allow", Principal = { AWS = local.root }, Action = local.use, Resource = "*" },
    {
      Sid       = "GrantToResources", Effect = "Allow", Principal = { AWS = local.root }, Action = ["kms:CreateGrant"], Resource = "*"
      Condition = { Bool = { "kms:GrantIsForAWSResource" = "true" } }
    },
    {
      Sid       = "Logs", Effect = "Allow", Principal = { Service = "logs.${local.region}.amazonaws.com" }, Action = local.write, Resource = "*"
      Condition = { ArnLike = { "kms:EncryptionContext:aws:logs:arn" = local.logs } }
    },
    {
      Sid       = "Alarms", Effect = "Allow", Principal = { Service = "cloudwatch.amazonaws.com" }, Action = local.delivery, Resource = "*"
      Condition = { StringEquals = { "aws:SourceAccount" = local.account } }
    },
    # EventBridge sends no key of a condition to an encrypted topic: one here would stop its deliveries
    { Sid = "Events", Effect = "Allow", Principal = { Service = "events.amazonaws.com" }, Action = local.delivery, Resource = "*" },
    {
      Sid       = "Bus", Effect = "Allow", Principal = { Service = "events.amazonaws.com" }, Action = ["kms:DescribeKey"], Resource = "*"
      Condition = { StringEquals = { "aws:SourceAccount" = local.account } }
    },
    { Sid = "LogDelivery", Effect = "Allow", Principal = { Service = "delivery.logs.amazonaws.com" }, Action = ["kms:Decrypt"], Resource = "*" },
  ]
}

resource "aws_ssm_parameter" "handed_over" {
  for_each    = { for field, value in local.values : field => value if value != null }
  name        = "${local.prefix}/${each.key}"
  description = local.descriptions[each.key]
  type        = contains(local.lists, each.key) ? "StringList" : "String"
  value       = each.value
  tags        = var.tags

  lifecycle {
    precondition {
      condition     = length(var.subnet_ids) == length(var.availability_zones)
      error_message = "subnet_ids and availability_zones must be as many, in the same order."
    }
  }
}
