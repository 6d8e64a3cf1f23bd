"""Keeps TensorFlow's own log lines off the terminal, unless what it was doing failed."""

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quiet_stderr(*, shown_on_error: bool = True) -> Iterator[None]:
    """Hold back what is written to standard error inside the block; show it if the block raises.

    Args:
        shown_on_error: False where the error is expected and its reason is in the exception.

    TensorFlow's C++ logs straight to file descriptor 2, some of it before any logger or variable that
    would silence it is looked at, so that only the descriptor itself can be redirected.
    """
    sys.stderr.flush()
    terminal = os.dup(2)
    with tempfile.TemporaryFile() as held_back:
        os.dup2(held_back.fileno(), 2)
        try:
            yield
        except BaseException:
            sys.stderr.flush()
            os.dup2(terminal, 2)
            if shown_on_error:
                held_back.seek(0)
                os.write(2, held_back.read())
            raise
        finally:
            sys.stderr.flush()
            os.dup2(terminal, 2)
            os.close(terminal)
