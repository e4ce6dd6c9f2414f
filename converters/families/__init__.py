"""One file per way to split a model into graphs; each has one function, `split`."""
