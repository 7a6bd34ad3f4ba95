"""All SQL of the hub: entities, their history, the dictionaries, and what arrived broken."""
