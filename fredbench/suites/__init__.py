"""What a table tests, and of which runs it is made: suite files, read."""
