"""YAML to what will be run."""
