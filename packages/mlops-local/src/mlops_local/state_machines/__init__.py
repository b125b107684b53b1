"""Step Functions of the embedded cloud: definitions that are refused, executions on the embedded clock, faults."""
