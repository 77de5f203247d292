"""Penstock and its peers under the same faults: the simulator breaks, counts and bills; one table tells it."""
