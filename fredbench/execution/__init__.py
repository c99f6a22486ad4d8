"""Where runs are made: by one call of the library, or cell by cell for a grid."""
