"""One file per artifact format; each has one function, `export`."""
