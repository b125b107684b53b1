variable "platform" {
  description = "Name of the platform; units name it in BusinessUnit(platform=...)."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{0,30}[a-z0-9]$", var.platform))
    error_message = "platform must be 2 to 32 lower-case letters, digits or hyphens, starting with a letter."
  }
}

variable "vpc_id" {
  description = "Network of the units."
  type        = string

  validation {
    condition     = can(regex("^vpc-[0-9a-f]{8,17}$", var.vpc_id))
    error_message = "vpc_id must be one of the form vpc-[0-9a-f]{8,17}."
  }
}

variable "subnet_ids" {
  description = "Private subnets, one a zone, in the order of the zones."
  type        = list(string)

  validation {
    condition     = length(var.subnet_ids) > 0 && alltrue([for item in var.subnet_ids : can(regex("^subnet-[0-9a-f]{8,17}$", item))])
    error_message = "subnet_ids must be one or more of the form subnet-[0-9a-f]{8,17}."
  }
}

variable "availability_zones" {
  description = "Zones of the subnets."
  type        = list(string)

  validation {
    condition     = length(var.availability_zones) > 0 && alltrue([for item in var.availability_zones : can(regex("^[a-z]{2}(-[a-z]+)+-[0-9][a-z]$", item))])
    error_message = "availability_zones must be one or more of the form [a-z]{2}(-[a-z]+)+-[0-9][a-z]."
  }
}

variable "key_arn" {
  description = "Key of all data of the units."
  type        = string

  validation {
    condition     = can(regex("^arn:[a-z-]+:kms:[a-z0-9-]+:[0-9]{12}:key/[0-9a-f-]{36}$", var.key_arn))
    error_message = "key_arn must be one of the form arn:[a-z-]+:kms:[a-z0-9-]+:[0-9]{12}:key/[0-9a-f-]{36}."
  }
}

variable "approver_role_arn" {
  description = "Role that people approve models in. Default: none is handed over."
  type        = string
  default     = null

  validation {
    condition     = var.approver_role_arn == null || can(regex("^arn:[a-z-]+:iam::[0-9]{12}:role/[A-Za-z0-9+=,.@_/-]{1,512}$", var.approver_role_arn))
    error_message = "approver_role_arn must be one of the form arn:[a-z-]+:iam::[0-9]{12}:role/[A-Za-z0-9+=,.@_/-]{1,512}."
  }
}

variable "cluster_name" {
  description = "EKS cluster of the units. Default: none is handed over."
  type        = string
  default     = null

  validation {
    condition     = var.cluster_name == null || can(regex("^[0-9A-Za-z][A-Za-z0-9_-]{0,99}$", var.cluster_name))
    error_message = "cluster_name must be one of the form [0-9A-Za-z][A-Za-z0-9_-]{0,99}."
  }
}

variable "cluster_security_group_id" {
  description = "Security group of that cluster. Default: none is handed over."
  type        = string
  default     = null

  validation {
    condition     = var.cluster_security_group_id == null || can(regex("^sg-[0-9a-f]{8,17}$", var.cluster_security_group_id))
    error_message = "cluster_security_group_id must be one of the form sg-[0-9a-f]{8,17}."
  }
}

variable "tags" {
  description = "Tags of the parameters."
  type        = map(string)
  default     = {}
}
