"""The address everything NGSI-LD lives under."""

ROOT = "/ngsi-ld/v1"
