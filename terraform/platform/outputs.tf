output "parameters" {
  description = "Names of the parameters that units read."
  value       = { for field in keys(aws_ssm_parameter.handed_over) : field => aws_ssm_parameter.handed_over[field].name }
}

output "key_policy" {
  description = "What the policy of the key must allow, as a document for source_policy_documents. It does not depend on key_arn."
  value       = jsonencode({ Version = "2012-10-17", Statement = local.key_statements })
}
