"""Reading the traits document, and judging whether it is whole enough to write from."""
