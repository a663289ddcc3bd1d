"""The rules of simplification, by what they are about: each is a function and its line in `RULES`."""
