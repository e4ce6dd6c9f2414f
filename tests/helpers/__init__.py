"""Run by hand or by make; collected by no test runner."""
