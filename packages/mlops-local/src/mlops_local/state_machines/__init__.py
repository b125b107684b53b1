"""Step Functions of the embedded cloud: validation of definitions, executions on the embedded clock, faults."""
