"""HTTP libraries behind the transport protocol, one file each."""
