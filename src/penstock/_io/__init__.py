"""Everything that waits: drivers, transports, clock, settings and stores."""
