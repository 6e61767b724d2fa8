"""The weights that come with llmbench: which there are, how they are made, if they are right."""
