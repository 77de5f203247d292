"""Policies: (state, now, facts) to a decision. They own the numbers and know no thread, clock, wire or socket."""
