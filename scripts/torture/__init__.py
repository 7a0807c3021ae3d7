"""Torments the command line in seeded rounds, and counts which of them it withstood."""
