"""The simulated world: the real client on a virtual clock against a provider that keeps its own books."""
