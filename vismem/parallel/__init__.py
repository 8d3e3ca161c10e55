"""Meshes of devices, the rules that shard arrays over them, and the hosts that feed them."""
