"""Times ncnn on the inference of one network, as `step_worker.py` times graphcnn.

    ncnn_worker.py NET --batch N --threads T

The network is the one that `torch_worker.py` builds, converted by pnnx, in float32. ncnn takes images one at
a time, so a batch is a loop over its images. Its logits must be those of PyTorch, or nothing is timed.
"""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path

import ncnn
import numpy as np
import pnnx
import torch
from networks import described
from protocol import answer, arguments
from torch_worker import module

TOLERANCE = 1e-4
"""Of the largest logit: rounding stays below 1e-5, a layer that was converted wrongly does not."""


def main() -> None:
    given = arguments(__doc__).parse_args()
    if given.mode == "train":
        raise SystemExit("ncnn does not train")
    torch.manual_seed(0)
    shape, layers = described(given.net)
    images = torch.randn(given.batch, shape[2], *shape[:2])
    with torch.inference_mode():
        model = module(shape, layers).eval()
        network = converted(model, images[:1], given.threads)
        wanted = model(images).numpy()
    arrays = [ncnn.Mat(image) for image in images.numpy()]  # views of the images, which must outlive them
    found = np.stack([np.array(logits_of(network, array)) for array in arrays])
    if not np.abs(found - wanted).max() <= TOLERANCE * np.abs(wanted).max():
        raise SystemExit("ncnn's logits are not those of PyTorch")
    answer("ncnn", lambda: [logits_of(network, array) for array in arrays])


def converted(model: torch.nn.Module, image: torch.Tensor, threads: int) -> ncnn.Net:
    """Return a network for images like this one [1, C, H, W]."""
    network = ncnn.Net()
    network.opt.num_threads = threads
    for name in ("fp16_packed", "fp16_storage", "fp16_arithmetic", "bf16_packed", "bf16_storage"):
        setattr(network.opt, f"use_{name}", False)
    with tempfile.TemporaryDirectory() as folder:
        torch.jit.trace(model, image).save(f"{folder}/network.pt")
        told = ["network.pt", f"inputshape={list(image.shape)}".replace(" ", ""), "fp16=0"]
        subprocess.run([pnnx.EXEC_PATH, *told], cwd=folder, check=True, stdout=subprocess.DEVNULL)
        for load, ending in ((network.load_param, "param"), (network.load_model, "bin")):
            if load(str(Path(folder, f"network.ncnn.{ending}"))) != 0:
                raise SystemExit(f"ncnn does not load what pnnx converted: network.ncnn.{ending}")
    return network


def logits_of(network: ncnn.Net, image: ncnn.Mat) -> ncnn.Mat:
    with network.create_extractor() as extractor:
        failed = extractor.input("in0", image)
        extracted, logits = extractor.extract("out0")
        if failed or extracted:
            raise SystemExit(f"ncnn computed nothing: {failed or extracted}")
        return logits


if __name__ == "__main__":
    main()
