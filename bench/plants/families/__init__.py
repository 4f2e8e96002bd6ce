"""The plants, one file a cause."""
