"""PyTorch's results for small trainings, recorded so that the tests need no PyTorch.

``python tests/helpers/torch_records/make.py`` writes the file again; it needs the extra ``peers``.
"""

from pathlib import Path

import numpy as np

FILE = Path(__file__).parent / "records.npz"


def records() -> dict[str, np.ndarray]:
    with np.load(FILE) as file:
        return dict(file)
