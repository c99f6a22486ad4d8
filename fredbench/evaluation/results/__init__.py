"""Result files: one set's scores with all that made them as JSON of a published schema, written, read and checked."""
