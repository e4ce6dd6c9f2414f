"""What is built on the loop: measuring, comparing, checking. Nothing of the loop imports it."""
