"""The loop that plans, dispatches and commits, and what it is made of."""
