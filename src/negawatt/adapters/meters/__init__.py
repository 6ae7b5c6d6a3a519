"""Power meters: one kind of hardware a file, found through the registry."""
