"""Probes, on recorded trees of /proc and /sys and on this very process."""
