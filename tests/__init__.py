"""The tests; a package, so that they can share what makes their inputs."""
