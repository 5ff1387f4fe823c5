"""What is over-represented in a dataset."""
