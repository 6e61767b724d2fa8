"""lm-eval's own tasks, asked of any model: see docs/lm-eval.md. lm-eval is imported when needed."""
