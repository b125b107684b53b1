output "endpoint" {
  description = "Name of the endpoint."
  value       = local.entry.endpoint
}

output "unit" {
  description = "Name of the business unit."
  value       = local.entry.unit
}

output "group" {
  description = "Model package group whose packages it serves."
  value       = local.entry.group
}

output "rollout_table" {
  description = "Table with the lock and the live pointer."
  value       = local.entry.rollout_table
}

output "deploy_machine" {
  description = "ARN of the Deploy machine."
  value       = local.entry.deploy_machine
}

output "target" {
  description = "Where models are rolled out: SageMaker or EKS."
  value       = local.entry.target
}

output "capture_bucket" {
  description = "Bucket of captured calls; null where none are captured."
  value       = lookup(local.entry, "capture_bucket", null)
}

output "url" {
  description = "Where a service on EKS answers; null for an endpoint of SageMaker."
  value       = lookup(local.entry, "url", null)
}

output "personal" {
  description = "Fields of calls that clients hash or leave out before they send them; null where none is personal."
  value       = lookup(local.entry, "personal", null)
}

output "is_monitored" {
  description = "Whether a monitor is defined for the endpoint."
  value       = local.entry.is_monitored
}
