"""The old name of `manifold.engines.celery.worker`, which the option `imports` of Celery workers may still have."""

import logging
import warnings

import manifold.engines.celery.worker  # noqa: F401 - which registers the task and the signal handlers

_RENAMED = "manifold.engines.celery_app is now manifold.engines.celery.worker: change `imports` in extra_celery_config"

warnings.warn(f"{_RENAMED}; the old name will not work in the next minor version", DeprecationWarning, stacklevel=2)
# Whoever runs a worker sees no DeprecationWarning.
logging.getLogger(__name__).warning(_RENAMED)
