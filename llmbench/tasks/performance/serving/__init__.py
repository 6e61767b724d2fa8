"""How a server answers many requests: arrivals, times, and what follows from them."""
