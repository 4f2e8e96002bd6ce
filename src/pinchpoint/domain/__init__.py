"""The nouns: frozen dataclasses only."""
