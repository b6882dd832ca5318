"""What was tried: variants of a method on a hard problem, with their numbers in result files that pages discuss."""
