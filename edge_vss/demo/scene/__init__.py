"""Streets, drawn with their exact labels."""
