"""Tables, figures and one self-contained page, made from rows; nothing here computes an accuracy."""
