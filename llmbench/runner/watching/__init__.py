"""What a run still takes, guessed while it goes on."""
