"""One outside thing per file, found by name through the registry."""
