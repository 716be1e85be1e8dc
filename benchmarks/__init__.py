"""How fast Manifold is, as ratios in one run: the same work, on the same machine, the peer at its best setting."""
