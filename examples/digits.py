"""Train a small network on the bundled digits, and read the gradient of its first layer."""

import graphcnn as gcn

digits = gcn.data.load_digits()
network = gcn.Sequential(
    gcn.Conv2d(8, 3), gcn.ReLU(), gcn.MaxPool2d(2),
    gcn.Flatten(), gcn.Dense(10),
)  # fmt: skip
model = gcn.compile(
    network, input_shape=(8, 8, 1), loss=gcn.CrossEntropy(), optimizer=gcn.SGD(0.1, momentum=0.9)
)
model.fit(digits.images, digits.labels, epochs=10)
print(model.evaluate(digits.test_images, digits.test_labels))
print(model.gradient_graph)
