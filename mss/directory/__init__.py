"""The trust list and the national directory: readers, and what keeps them fresh."""
