"""The transforms, one file each; a job in scheduler/jobs.yaml names the file."""

import re
from importlib import import_module, util

from shared.errors import ConfigurationError
from shared.jobs import Job
from shared.ports import Transform


def find_transform(job: Job) -> Transform:
    """Return the transform a job names.

    Raises:
        ConfigurationError: There is no such file here, or it defines no `transform`.
    """
    name = f"{__name__}.{job.transform}"
    if not re.fullmatch(r"[a-z][a-z0-9_]*", job.transform) or util.find_spec(name) is None:
        raise ConfigurationError([f"job {job.id}: there is no transform {job.transform!r} in transforms/"])
    module = import_module(name)
    if not hasattr(module, "transform"):
        raise ConfigurationError([f"job {job.id}: transforms/{job.transform}.py defines no `transform`"])
    transform: Transform = module.transform
    return transform
