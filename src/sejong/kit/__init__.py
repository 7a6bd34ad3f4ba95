"""Machinery without any word of the city in it: database, acts, events, jobs, HTTP, languages, telemetry."""
