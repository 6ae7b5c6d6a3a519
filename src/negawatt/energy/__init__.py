"""What work costs: one energy model, calibrated by measured tables, for every other room."""
