"""Side-by-side measurements of the city; see README.md."""
