"""Where runs are sent: `python -m launch BACKEND FILE`, and `vismem sweep`."""
