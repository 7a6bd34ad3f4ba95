"""The record as OGC SensorThings 1.1 sees it, to read."""
