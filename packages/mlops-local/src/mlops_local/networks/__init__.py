"""Networks of the embedded cloud: reachability of services through endpoints, routes and security groups."""
