"""Random changes of saved models, for the tests of files."""

import hashlib
import os

import numpy as np

from fastnn.saving.container import ALIGNMENT, NO_DIGEST

# Number of mutated files; more by hand: FASTNN_MUTATIONS=20000.
N_MUTATIONS = int(os.environ.get("FASTNN_MUTATIONS", "400"))


def mutate(changed, header_length, random):
    """Change some bytes, most often in the header."""
    end = len(changed) if random.rand() < 0.3 else min(8 + header_length, len(changed))
    place, kind = random.randint(0, end), random.randint(0, 5)
    if kind == 0:
        changed[place] = random.randint(0, 256)
    elif kind == 1:
        changed[place] ^= 1 << random.randint(0, 8)
    elif kind == 2:
        del changed[place : place + random.randint(1, 9)]
    elif kind == 3:
        changed[place:place] = bytes(random.randint(32, 127, random.randint(1, 9)).astype(np.uint8))
    else:
        other = random.randint(0, end)
        changed[place : place + 4] = changed[other : other + 4]


def repaired_digests(changed):
    """Return the content with the right length and digest of its header, if the header can still be found."""
    end = changed.find(b"}}")
    stop = changed.rfind(b"}", 0, max(end + 2, 8)) + 1
    text = changed[8:stop]
    place = text.find(b'"fastnn.header":"')
    if place < 0:
        return changed
    place += len(b'"fastnn.header":"')
    text = text[:place] + NO_DIGEST.encode() + text[place + 64 :]
    text += b" " * (-(8 + len(text)) % ALIGNMENT)
    start = len(text).to_bytes(8, "little") + text
    digest = hashlib.sha256(start).hexdigest().encode()
    return start.replace(NO_DIGEST.encode(), digest, 1) + changed[stop:].lstrip(b" ")
