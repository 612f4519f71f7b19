"""What a session knows of the data that it sends and receives: records and ledgers, no decisions
about frames, keys or paths."""
