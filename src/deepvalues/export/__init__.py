"""Export of the items as a hub data set and as tasks for two evaluation harnesses; import of their logs."""
