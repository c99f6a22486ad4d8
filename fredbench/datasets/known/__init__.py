"""The datasets that have a name here, one module a family: where they come from, their forms, what is known of them.

A new one is a module here and a line in `datasets/catalogue.py`.
"""
