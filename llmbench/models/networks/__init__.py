"""The roadmap's networks, one readable file a stage."""
