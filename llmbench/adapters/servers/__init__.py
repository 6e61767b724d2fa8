"""Models behind servers: the client, what a server proves when it is connected, and the adapter."""
