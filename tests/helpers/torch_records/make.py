"""Record PyTorch's results: ``python tests/helpers/torch_records/make.py``, with the extra ``peers``."""

import sys
from pathlib import Path

import numpy as np

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))
    from torch_records import FILE
    from torch_records.twin import results

    found = results()
    np.savez_compressed(FILE, **{name: found[name] for name in sorted(found)})
    print(f"{FILE}: {len(found)} arrays, {FILE.stat().st_size} bytes")
