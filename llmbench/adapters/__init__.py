"""One file a kind of backend. Adapters never import each other."""
