"""What a board says across models and tasks: ranks over all tasks, who beats whom, every item."""
