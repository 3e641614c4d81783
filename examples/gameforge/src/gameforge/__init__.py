"""GameForge: a small game back end that makes worlds and keeps scores."""

__version__ = "1.0.0"
