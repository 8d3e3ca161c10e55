"""The train step compiled for a machine that is not here: what it costs, and what to change."""
