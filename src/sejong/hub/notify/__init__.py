"""Telling subscribers what changed: durable, in order for each of them, none slowed by another."""
