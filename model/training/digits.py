"""Trains the bundled model: which digit, 0 to 9, a small grey image shows."""

import platform
from collections.abc import Callable
from datetime import datetime
from importlib.metadata import version as library_version
from pathlib import Path
from typing import Any

import numpy as np
import sklearn
import tensorflow as tf

from shared.errors import ModelError

from . import export, version_directory
from .digits_data import LICENCE, SOURCE, SPLIT_SEED, Data, load_data, write_held_out
from .distribution import describe_predictions

NAME = "digits"
EPOCHS = 60
SEED = 1
BATCH_SIZE = 64
LOWEST_ACCURACY = 0.97


def build_network(steps: int) -> Any:
    """Return an untrained network of 14,000 weights, its learning rate falling to zero over `steps`."""
    layers = tf.keras.layers
    network = tf.keras.Sequential(
        [
            tf.keras.Input((8, 8), name="image"),
            layers.Rescaling(1 / 16, name="scale"),
            layers.Reshape((8, 8, 1), name="channel"),
            layers.Conv2D(16, 3, padding="same", activation="relu", name="strokes"),
            layers.MaxPooling2D(name="halve"),
            layers.Conv2D(32, 3, padding="same", activation="relu", name="shapes"),
            layers.MaxPooling2D(name="quarter"),
            layers.Flatten(name="flat"),
            layers.Dropout(0.3, name="drop_shapes"),
            layers.Dense(64, activation="relu", name="hidden"),
            layers.Dropout(0.3, name="drop_hidden"),
            layers.Dense(10, activation="softmax", name="probabilities"),
        ],
        name=NAME,
    )
    rate = tf.keras.optimizers.schedules.CosineDecay(3e-3, steps)
    network.compile(tf.keras.optimizers.Adam(rate), "sparse_categorical_crossentropy")
    return network


def fit(data: Data, *, seed: int, epochs: int, report: Callable[[int, float], None]) -> Any:
    """Train a network; the held-out images are not looked at.

    Args:
        seed: The same seed gives the same weights on the same machine and libraries.
        epochs: How often each training image is seen.
        report: Called after each epoch with its number, from 1, and the mean loss.
    """
    tf.keras.utils.set_random_seed(seed)
    tf.config.experimental.enable_op_determinism()
    count = len(data.train_digits)
    network = build_network(steps=epochs * -(-count // BATCH_SIZE))
    order = np.random.default_rng(seed)
    for epoch in range(1, epochs + 1):
        shuffled = order.permutation(count)
        losses = [
            network.train_on_batch(data.train_images[rows], data.train_digits[rows])
            for rows in np.split(shuffled, range(BATCH_SIZE, count, BATCH_SIZE))
        ]
        report(epoch, float(np.mean(losses)))
    return network


def served_module(network: Any) -> tf.Module:
    """Wrap a trained network in the function that is served, with its weights and nothing else."""
    module = tf.Module(name=NAME)
    module.weights = [weight.value for weight in network.weights]

    @tf.function(input_signature=[tf.TensorSpec([None, 8, 8], tf.float32, name="image")])  # type: ignore[untyped-decorator]
    def serve(image: tf.Tensor) -> dict[str, tf.Tensor]:
        probabilities = network(image, training=False)
        digit = tf.argmax(probabilities, axis=-1, output_type=tf.int64)
        return {"probabilities": probabilities, "digit": digit}

    module.serve = serve
    return module


def write_version(
    staged: Path, network: Any, data: Data, *, version: int, created_at: datetime, seed: int, epochs: int
) -> float:
    """Fill a version's folder with the SavedModel, the LiteRT file and model.json.

    Returns:
        The share of held-out images whose digit LiteRT finds.

    Raises:
        ModelError: LiteRT and TensorFlow disagree.
    """
    module = served_module(network)
    export.save(module, {"serving_default": module.serve}, staged)
    content = export.convert(staged)
    agreement = export.compare(staged, content, "serving_default", {"image": data.test_images})
    accuracy = float(np.mean(agreement.outputs["digit"] == data.test_digits))
    seen = export.answers(staged, content, "serving_default", {"image": data.train_images})
    signatures = version_directory.describe_signatures(export.read_signatures(staged), {"image": (0, 16)})
    document = {
        "format": 1,
        "name": NAME,
        "version": version,
        "description": "Which digit, 0 to 9, an 8 by 8 grey image shows.",
        "created_at": created_at.isoformat(timespec="seconds").replace("+00:00", "Z"),
        "signatures": signatures,
        "runtimes": ["litert", "tensorflow"],
        "litert": {
            "file": export.LITERT_FILE,
            "max_difference": agreement.max_difference,
            "compared_images": agreement.compared_rows,
        },
        "metrics": {
            "accuracy": round(accuracy, 6),
            "test_images": len(data.test_digits),
            "train_images": len(data.train_digits),
        },
        "training": {
            "class_counts": data.class_counts(),
            "predicted": describe_predictions(seen["digit"], seen["probabilities"]),
            "epochs": epochs,
            "batch_size": BATCH_SIZE,
            "split_seed": SPLIT_SEED,
            "source": SOURCE,
            "licence": LICENCE,
        },
        "seed": seed,
        "libraries": _libraries(),
        "summary": {"class": "digit", "scores": "probabilities"},
        "interface": {"kind": "image", "input": "image"},
        "example": {"instances": [{"image": data.test_images[0].astype(int).tolist()}]},
        "samples": data.samples(),
    }
    version_directory.write_manifest(staged, document)
    return accuracy


def train(
    models_dir: Path,
    *,
    version: int | None,
    seed: int | None,
    epochs: int | None,
    force: bool,
    created_at: datetime,
    report: Callable[[int, int, float], None],
) -> tuple[Path, float]:
    """Train, check and put in place one version of the digits model.

    Args:
        models_dir: The folder that gets `digits/<version>/` and `digits/held_out.json`.
        version: Its number; None for the next free one.
        seed: What the weights start from and the order of images; None for the recipe's own.
        epochs: How often each image is seen; None for the recipe's own, which alone must reach the
            lowest accuracy that is taken.
        force: Replace the version if it exists.
        created_at: The time to record, in UTC.
        report: Called after each epoch with its number, how many there are, and the mean loss.

    Returns:
        The version's folder and its accuracy on the held-out images.

    Raises:
        ConflictError: The version exists and `force` is not set.
        ModelError: It disagrees with its own conversion, or is not accurate enough.
    """
    model_dir = models_dir / NAME
    version_dir = model_dir / str(version or version_directory.next_version(model_dir))
    seed, rounds = SEED if seed is None else seed, epochs or EPOCHS
    with version_directory.staged_version(version_dir, force=force) as staged:
        data = load_data()
        network = fit(data, seed=seed, epochs=rounds, report=lambda epoch, loss: report(epoch, rounds, loss))
        accuracy = write_version(
            staged,
            network,
            data,
            version=int(version_dir.name),
            created_at=created_at,
            seed=seed,
            epochs=rounds,
        )
        if epochs is None and accuracy < LOWEST_ACCURACY:
            raise ModelError(
                f"only {accuracy:.1%} of the held-out images are right; {LOWEST_ACCURACY:.0%} is the least"
            )
    write_held_out(model_dir / "held_out.json", data)
    return version_dir, accuracy


def _libraries() -> dict[str, str]:
    return {
        "tensorflow": tf.__version__,
        "keras": tf.keras.__version__,
        "scikit-learn": sklearn.__version__,
        "ai-edge-litert": library_version("ai-edge-litert"),
        "python": platform.python_version(),
    }
