"""What can be said of numbers: statistics and verdicts, pure."""
