"""What people write: strict YAML, model cards, and code of their own."""
