"""Build a YouTube-8M-style dataset from your own videos (Abu-El-Haija et al., 2016)."""

__version__ = "0.1.0"
