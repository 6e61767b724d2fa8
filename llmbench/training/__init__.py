"""Train the roadmap's networks, fine-tune checkpoints, keep what was trained."""
