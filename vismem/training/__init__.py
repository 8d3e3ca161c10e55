"""One loop for every objective: state, step, optimizer, checkpoints and logs of a run."""
