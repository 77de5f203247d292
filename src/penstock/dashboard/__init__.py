"""The cost page: the ledger's figures in a browser, live. It reads the ledger and changes nothing."""
