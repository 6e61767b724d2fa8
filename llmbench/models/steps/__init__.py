"""Steps of a single row on a CPU that compute what the networks compute, in fewer calls."""
