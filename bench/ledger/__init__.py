"""The ledger: what it costs a call, how fast it is written, and how fast it answers."""
