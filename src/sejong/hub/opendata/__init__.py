"""What builders take home: data sets with their quality, exports, the catalogue, and keys for programs."""
