"""One run: what is asked (spec), where it is kept (store), what comes out (synset), and the loop between them."""
