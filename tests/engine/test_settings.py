"""The kernels' settings: derived from the job by name, and of the types that the kernels are compiled for."""

import numpy as np

from fastnn.engine.arguments import make_kernel_settings
from fastnn.engine.job import Job
from fastnn.network.description import Network
from fastnn_kernels.calls.training import Settings


def test_settings_are_copied_from_the_job_with_the_types_of_the_kernels():
    values = {"reduction": "mean", "tol": 1, "patience": 4, "loss_share": 1, "seed": 2**63, "epsilon": 1.0}
    penalties = {"reg_lambda": 0.5, "l1": 0.25, "max_norm": 3.0, "clip_norm": 4.0}
    job = Job(np.zeros((7, 2)), np.zeros((7, 1)), np.full(7, 2), 5, 3, **values, **penalties)
    settings = make_kernel_settings(Network.create([2, 3, 2]), job, width=8, n_rounds=1)
    shared = [name for name in settings._fields if hasattr(job, name)]
    assert len(settings._fields) - len(shared) == 8, "all but eight settings are fields of the job"
    for name in shared:
        assert getattr(settings, name) == getattr(job, name), name
    kinds = {"bool": bool, "float": float, "int": int}
    for name, annotation in Settings.__annotations__.items():
        if annotation in kinds:
            assert type(getattr(settings, name)) is kinds[annotation], name
    assert type(settings.seed) is np.uint64
