"""The ledger: a file that has every call and attempt, and answers what they cost."""
