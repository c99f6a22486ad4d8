"""The datasets that have a name here, one module a family: where they come from, their forms, what is known of them."""
