"""What runs the generated code: compilation to machine code, its cache on disk, and the pool of threads."""
