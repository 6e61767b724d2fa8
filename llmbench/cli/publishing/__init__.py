"""Commands that publish a run, and check a published one."""
