"""Bringing the whole city to life on one machine, and saying what is wrong when it does not come."""
