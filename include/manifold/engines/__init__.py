"""The engines, a file each. A new one is a file beside this one, a row in `manifold.registry`, and its contract row."""
