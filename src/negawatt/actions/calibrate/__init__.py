"""From windows measured on this machine, or told by a table, to the profile of a device."""
