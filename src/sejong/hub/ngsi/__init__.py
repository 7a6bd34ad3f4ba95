"""The grammar of the city's record: NGSI-LD (ETSI GS CIM 009 v1.9.1) as pure functions, without I/O or time."""
