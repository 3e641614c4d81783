"""Runs the games that players write."""
