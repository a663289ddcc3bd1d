"""The kernels: how each op becomes loops over vectors."""
