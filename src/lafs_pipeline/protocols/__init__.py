"""What is benchmarked: pair sets and lists, IJB trees, held-out pairs."""
