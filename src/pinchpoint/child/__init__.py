"""What runs inside the target's process, under the user's own interpreter: standard library only, Python 3.9 or newer."""
