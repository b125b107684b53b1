"""Networks of the embedded cloud: what reaches which service, through which endpoints and rules."""
