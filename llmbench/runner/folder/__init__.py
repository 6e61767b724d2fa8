"""The folder of a run while the run is at work."""
