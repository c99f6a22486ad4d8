"""Students × test domains to numbers, and what the literature printed beside them."""
