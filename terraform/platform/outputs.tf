output "parameters" {
  description = "Names of the parameters that units read."
  value       = { for field in keys(aws_ssm_parameter.handed_over) : field => aws_ssm_parameter.handed_over[field].name }
}
