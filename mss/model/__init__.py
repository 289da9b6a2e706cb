"""The nouns of the house: frozen dataclasses, no I/O."""
