"""Exports to experiment trackers: a run of the tracker for each model, a file a tracker."""
