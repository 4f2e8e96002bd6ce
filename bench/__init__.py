"""Shows, on this machine, what the README promises: `python -m bench` runs all, `python -m bench NAME` runs one."""
