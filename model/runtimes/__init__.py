"""What serves a model: one module a runtime, each imported only when a version needs it."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class Runtime(Protocol):
    """A loaded version. Any number of threads may call it at once."""

    def run(self, signature_name: str, inputs: Mapping[str, "NDArray[Any]"]) -> dict[str, "np.ndarray[Any, Any]"]:
        """Answer one batch.

        Args:
            signature_name: One of the manifest's signatures.
            inputs: An array for every input of the signature, of its dtype and shape. The only input of a signature
                may be [n] where the shape is [-1,1]; outputs of the shape [n,1] are then [n] as well.

        Returns:
            An array for every output of the signature; the caller owns them.

        Raises:
            InvalidRequestError: The signature is unknown, or an input is missing, left over or of
                another dtype or shape, or the model cannot take these values.
            ModelError: The model fails whatever it is given.
        """
        ...
