"""Runtimes: the device half. numpy, PyAV, OpenCV and one engine, never torch."""
