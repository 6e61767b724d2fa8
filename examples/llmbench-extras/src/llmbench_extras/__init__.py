"""One of each thing that a package can add to llmbench: a model, a task, a metric, a renderer."""
