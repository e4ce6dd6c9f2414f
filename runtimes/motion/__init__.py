"""One file per place motion comes from; each has one function, `measure`."""
