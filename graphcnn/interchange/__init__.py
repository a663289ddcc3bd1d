"""File formats: weights in safetensors."""
