"""What is told about a scatter while it runs: a progress bar, a log."""
