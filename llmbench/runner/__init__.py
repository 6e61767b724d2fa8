"""The only loop, and the processes that it starts."""
