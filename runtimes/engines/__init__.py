"""One file per inference engine; each has one function, `load`."""
