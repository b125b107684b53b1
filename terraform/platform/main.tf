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
