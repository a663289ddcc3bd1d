"""How a user writes a network: layers, functions and operators on values, initializers."""
