"""Where workers run: on this machine, or on the machines of a cluster."""
