"""LLVM IR as text: values, loops and vectors, and what the processor offers for them."""
