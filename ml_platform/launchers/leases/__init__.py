"""The launch table, and the leases that processes take from it: at most one process does a piece of work at a time."""
