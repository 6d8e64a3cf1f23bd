"""The code of the jobs, one file each; a job in scheduler/jobs.yaml names the file."""

import re
from importlib import import_module, util

from shared.errors import ConfigurationError
from shared.jobs import Job

from ..contract import Task, Transform


def find_code(job: Job) -> Transform | Task:
    """Return the code that a job names.

    Raises:
        ConfigurationError: There is no such file here, it defines neither or both of `transform` and `task`, or it
            cannot be sliced as the job says.
    """
    name = f"{__name__}.{job.transform}"
    if not re.fullmatch(r"[a-z][a-z0-9_]*", job.transform) or util.find_spec(name) is None:
        raise ConfigurationError([f"job {job.id}: there is no transform {job.transform!r} in transforms/"])
    module = import_module(name)
    found = [getattr(module, kind) for kind in ("transform", "task") if hasattr(module, kind)]
    if len(found) != 1:
        raise ConfigurationError(
            [f"job {job.id}: transforms/{job.transform}.py: expected `transform` or `task`, found {len(found)} of them"]
        )
    code: Transform | Task = found[0]
    if job.slices > 1 and not isinstance(code, Transform):
        raise ConfigurationError([f"job {job.id}: slices: expected 1, since {job.transform} is a task"])
    return code
