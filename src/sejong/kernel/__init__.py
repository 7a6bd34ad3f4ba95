"""Pure foundations every part of the city stands on: time, chance, ids, money, units, places, errors.

Nothing here imports anything else of ours and nothing here does I/O.
"""
