"""Write arrays to bytes and files."""

import json
from pathlib import Path


def save(arrays, metadata):
    header, content = {"__metadata__": metadata}, b""
    for name, array in arrays.items():
        data = array.tobytes()
        dtype = {"f": "F", "i": "I", "u": "U"}[array.dtype.kind] + str(8 * array.itemsize)
        places = [len(content), len(content) + len(data)]
        header[name] = {"dtype": dtype, "shape": array.shape, "data_offsets": places}
        content += data
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + content


def save_file(arrays, path, metadata):
    Path(path).write_bytes(save(arrays, metadata))
