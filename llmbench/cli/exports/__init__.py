"""The command that exports a run."""
