"""Ingest: the doors through which readings reach the record (MQTT, HTTP, files), and what is done with bad ones."""
