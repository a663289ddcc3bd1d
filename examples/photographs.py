"""Train a network on a folder of photographs, look at its mistakes, and fine-tune it for other classes.

python examples/photographs.py [FOLDER [OTHER]]     (pip install 'graphcnn[images]')

FOLDER has a folder of photographs for each class, of any sizes; OTHER has other classes, fewer photographs
will do, and the trained network learns them with a new head. Without them, drawings stand in for both.
Ctrl-C ends it at any time; the same command goes on. All it writes is in the folder `photographs-run`.
"""

import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

import graphcnn as gcn

SIDE = 48
EPOCHS = 8


def load(folder: Path) -> gcn.data.Dataset:
    """Return the photographs, a fifth of them to test on where the folder has no test part of its own."""
    photographs = gcn.data.load_image_folder(folder, size=SIDE)
    return photographs if len(photographs.test_images) else photographs.split(0.8, seed=1)


def compiled(photographs: gcn.data.Dataset) -> gcn.Model:
    """Return an untrained ResNet-20 behind augmentation, with an output for each class."""
    network = gcn.Sequential(
        gcn.Normalize.of(photographs),
        gcn.RandomFlip(),
        gcn.RandomCrop(padding=SIDE // 8),
        gcn.zoo.resnet20(len(photographs.classes), (SIDE, SIDE, photographs.images.shape[3]), width=0.5),
    )
    return gcn.compile(
        network, loss=gcn.CrossEntropy(label_smoothing=0.1), optimizer=gcn.SGD(0.05, 0.9, weight_decay=5e-4)
    )


def train(folder: Path, run: Path) -> None:
    """Train on all classes alike, from the latest checkpoint on if there is one; save the best weights."""
    photographs = load(folder)
    print(photographs)
    photographs.show(run / "photographs.html", open=False)
    checkpoint = gcn.Checkpoint(run / "checkpoints", every="10s")
    model = gcn.resume(checkpoint.path) if checkpoint.latest else compiled(photographs)
    model.fit(
        photographs,
        epochs=EPOCHS,
        batch_size=16,
        class_weight="balanced",
        callbacks=[gcn.one_cycle(0.05, EPOCHS), gcn.BestWeights(), gcn.LivePlot(run / "curves.png")],
        checkpoint=checkpoint,
    )
    report = model.evaluate(photographs, report=True)
    print(report)
    if report.mistakes:
        report.show_mistakes(run / "mistakes.html", open=False)
    model.save(run / "model.safetensors")  # with the names of the classes


def fine_tune(folder: Path, run: Path) -> None:
    """Train a new head on the trained layers, and then all layers, at a tenth of the rate."""
    photographs = load(folder)
    print(photographs)
    model = compiled(photographs)
    model.load_weights(run / "model.safetensors", skip="fc")
    model.freeze("conv1", "bn1", "layer*")
    for peak in (0.05, 0.005):
        callbacks = [gcn.one_cycle(peak, EPOCHS), gcn.BestWeights()]
        model.fit(photographs, epochs=EPOCHS, initial_epoch=0, batch_size=8, callbacks=callbacks)
        model.unfreeze()
    model.save(run / "tuned.safetensors")


def draw(folder: Path, kinds: tuple[str, ...], count: int) -> Path:
    """Draw pictures of these kinds, of many sizes and colours, into folders of their names."""
    random = np.random.default_rng(0)
    for kind in kinds:
        (folder / kind).mkdir(parents=True)
        for number in range(count):
            width, height = (int(side) for side in random.integers(60, 200, 2))
            back = random.integers(0, 120, 3) + random.integers(0, 20, (height, width, 1))
            picture = Image.fromarray(back.astype(np.uint8))
            x, y = random.uniform(0.4, 0.6, 2) * (width, height)
            reach = random.uniform(0.25, 0.4) * min(width, height)
            corners = {"triangle": 3, "square": 4, "hexagon": 6}.get(kind, 0)
            pen, colour = ImageDraw.Draw(picture), tuple(int(each) for each in random.integers(140, 255, 3))
            if corners:
                pen.regular_polygon((x, y, reach), corners, int(random.integers(360)), colour)
            else:
                box = (x - reach, y - reach, x + reach, y + reach)
                pen.ellipse(box, colour if kind == "disc" else None, colour, max(2, int(reach / 5)))
            picture.save(folder / kind / f"{number:03}.jpg")
    return folder


def main() -> None:
    with tempfile.TemporaryDirectory() as made:
        folders = [Path(argument) for argument in sys.argv[1:3]]
        run = Path("photographs-run") if folders else Path(made)
        if not folders:
            print("No folder given: drawings stand in for photographs.")
            folders = [
                draw(Path(made, "first"), ("disc", "ring", "square"), 60),
                draw(Path(made, "second"), ("hexagon", "triangle"), 20),
            ]
        run.mkdir(exist_ok=True)
        if not (run / "model.safetensors").exists():
            train(folders[0], run)
        tuned = "model.safetensors"
        if len(folders) > 1:
            fine_tune(folders[1], run)
            tuned = "tuned.safetensors"
        model = gcn.load(run / tuned)
        photograph = load(folders[-1]).files[0]
        print(f"{tuned} tells {', '.join(model.classes)} apart:")
        print(model.classify(photograph))


if __name__ == "__main__":
    main()
