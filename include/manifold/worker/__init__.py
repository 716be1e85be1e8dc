"""What runs in a worker process: one chunk at a time."""
