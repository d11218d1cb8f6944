"""The benchmark where others work: a data set for the model hub, tasks for two harnesses, and their logs."""
