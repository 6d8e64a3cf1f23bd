"""Makes the SavedModels that only the benchmarks need, in a process of its own.

    python -m benchmarks.saved_models FOLDER

Their weights are random and the same on every run: what they answer means nothing, and how long they take does not
depend on it.

    cnn    28 by 28 grey image, 34,826 weights: two convolutions, as in Keras's first example.
    image  224 by 224 by 3 image, averaged in squares of 32, then one dense layer. As light as can be, so that what is
           measured is how a request of 150,528 numbers is read.
    dense  1024-4096-4096-10, 84 MB: reading the weights takes the time, and a batch reads them once.
"""

import sys
from pathlib import Path
from typing import Any

import tensorflow as tf

from model.training.export import save

SEED = 20


def main(folder: Path) -> None:
    """Write every model to a folder of its name."""
    layers = tf.keras.layers
    networks = {
        "cnn": [
            tf.keras.Input((28, 28)),
            layers.Reshape((28, 28, 1)),
            layers.Conv2D(32, 3, activation="relu"),
            layers.MaxPooling2D(),
            layers.Conv2D(64, 3, activation="relu"),
            layers.MaxPooling2D(),
            layers.Flatten(),
            layers.Dense(10),
        ],
        "image": [
            tf.keras.Input((224, 224, 3)),
            layers.AveragePooling2D(32),
            layers.Flatten(),
            layers.Dense(10),
        ],
        "dense": [
            tf.keras.Input((1024,)),
            layers.Dense(4096, activation="relu"),
            layers.Dense(4096, activation="relu"),
            layers.Dense(10),
        ],
    }
    for name, parts in networks.items():
        tf.keras.utils.set_random_seed(SEED)
        _write(folder / name, tf.keras.Sequential(parts))


def _write(folder: Path, network: Any) -> None:
    module = tf.Module()
    module.weights = [weight.value for weight in network.weights]
    shape = [None, *network.input_shape[1:]]

    @tf.function(input_signature=[tf.TensorSpec(shape, tf.float32, name="image")])  # type: ignore[untyped-decorator]
    def serve(image: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"scores": network(image, training=False)}

    folder.mkdir()
    save(module, {"serving_default": serve}, folder)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
