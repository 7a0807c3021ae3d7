"""Figures of finished datasets: numbers and plots."""
