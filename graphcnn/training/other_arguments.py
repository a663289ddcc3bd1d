"""What other frameworks pass to functions that are called alike here, and how it is said here."""

from __future__ import annotations

from typing import Final

_LABELS = "fit(images, labels): an image and its label at the same place"
_RATE = "the optimiser has it: gcn.compile(..., optimizer=gcn.SGD(0.05)), later model.learning_rate = 0.01"
_CPU = "leave it out: a model computes on the CPU, on threads= of them"
_PARALLEL = "leave it out: gcn.compile(..., threads=) says how many threads compute"
_ALL_STEPS = "leave it out: the whole validation data are evaluated; hand over fewer"
_RESUME = "model = gcn.resume(folder), whose fit goes on from the latest checkpoint there"

FIT: Final = {
    "verbose": "progress=False for a quiet run",
    "validation_steps": _ALL_STEPS,
    "workers": _PARALLEL,
    "use_multiprocessing": _PARALLEL,
    "num_workers": _PARALLEL,
    "lr": _RATE,
    "learning_rate": _RATE,
    "optimizer": "gcn.compile(network, optimizer=...) takes it",
    "loss": "gcn.compile(network, loss=...) takes it",
    "metrics": "gcn.compile(network, metrics=[...]) takes them",
    "seed": "gcn.compile(network, seed=...) takes it",
    "labels": _LABELS,
    "targets": _LABELS,
    "images": _LABELS,
    "validation_freq": "leave it out: each epoch is evaluated; validate_every=100 adds steps",
    "val_check_interval": "validate_every=100, in steps",
    "validation_batch_size": "leave it out: batch_size is that of the evaluation too",
    "device": _CPU,
    "ckpt_path": _RESUME,
    "resume_from_checkpoint": _RESUME,
}
"""Of `fit`, `evaluate` and `predict`."""

COMPILE: Final = {
    "lr": "optimizer=gcn.SGD(0.05)",
    "learning_rate": "optimizer=gcn.SGD(0.05)",
    "momentum": "optimizer=gcn.SGD(0.05, momentum=0.9)",
    "weight_decay": "optimizer=gcn.SGD(0.05, weight_decay=1e-4)",
    "criterion": "loss=gcn.CrossEntropy()",
    "device": _CPU,
    "batch_size": "leave it out: a model takes any batch size; fit and predict have batch_size=",
    "epochs": "fit takes it: model.fit(images, labels, epochs=5)",
    "callbacks": "fit takes them: model.fit(images, labels, callbacks=[...])",
    "max_norm": "clip_norm=1.0",
    "clipnorm": "clip_parameter_norm=1.0, or clip_norm=1.0 for all together",
    "global_clipnorm": "clip_norm=1.0",
    "clipvalue": "clip_value=0.5",
    "gradient_accumulation_steps": "accumulate=4",
    "ema_decay": "average=0.999, and model.averaged()",
    "mixed_precision": 'precision="bfloat16"',
    "amp": 'precision="bfloat16"',
    "steps_per_execution": "leave it out: a step is one native call",
    "run_eagerly": 'backend="numpy" computes node by node',
    "jit_compile": 'leave it out: backend="native" compiles the whole step',
}
"""Of `compile` and `load`."""
