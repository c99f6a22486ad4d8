"""Where the cells of a grid are run."""
