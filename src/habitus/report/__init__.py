"""One page that shows a whole study."""
