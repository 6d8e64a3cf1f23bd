"""The images that the digits model is trained and judged on, as scikit-learn carries them."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from .version_directory import write_text

HELD_OUT_IMAGES = 360
# Fixed, whatever the training's seed: versions compare only if none has trained on another's test images.
SPLIT_SEED = 20
SOURCE = (
    "E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten Digits, UCI Machine Learning "
    "Repository, https://doi.org/10.24432/C50P49; the part that scikit-learn carries (load_digits)"
)
LICENCE = "CC BY 4.0"


@dataclass(frozen=True)
class Data:
    """Images `(n, 8, 8)` with values 0 to 16, and the digit that each shows."""

    train_images: NDArray[np.float32]
    train_digits: NDArray[np.int64]
    test_images: NDArray[np.float32]
    test_digits: NDArray[np.int64]

    def class_counts(self) -> dict[str, int]:
        """Return how many training images there are of each digit."""
        digits, counts = np.unique(self.train_digits, return_counts=True)
        return {str(digit): int(count) for digit, count in zip(digits, counts, strict=True)}

    def samples(self) -> list[dict[str, Any]]:
        """Return the first held-out image of each digit, as an instance to ask the model with and what it shows."""
        digits, firsts = np.unique(self.test_digits, return_index=True)
        return [
            {"label": str(digit), "instance": {"image": self.test_images[first].astype(int).tolist()}}
            for digit, first in zip(digits, firsts, strict=True)
        ]


def load_data() -> Data:
    """Split the 1,797 images into 1,437 to train on and 360 held out, each digit in proportion."""
    bunch = load_digits()
    train_images, test_images, train_digits, test_digits = train_test_split(
        bunch.images.astype(np.float32),
        bunch.target.astype(np.int64),
        test_size=HELD_OUT_IMAGES,
        stratify=bunch.target,
        random_state=SPLIT_SEED,
    )
    return Data(train_images, train_digits, test_images, test_digits)


def write_held_out(path: Path, data: Data) -> None:
    """Write the images that no version was trained on, for those who have no scikit-learn."""
    document = {
        "source": SOURCE,
        "licence": LICENCE,
        "images": data.test_images.astype(int).tolist(),
        "digits": data.test_digits.tolist(),
    }
    write_text(path, json.dumps(document, separators=(",", ":")) + "\n")
