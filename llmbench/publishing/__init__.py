"""Runs that anybody can look at, and audit: a folder of static files, and what checks it."""
