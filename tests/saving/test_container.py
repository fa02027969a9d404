"""Containers: they are valid safetensors files, and every other file is a ValueError with the reason."""

import contextlib
import hashlib
import json
import os
import pickle
import re
import struct
import tracemalloc
import zipfile

import numpy as np
import pytest
from mutations import loaded_mutations
from saved_models import X, classifier, make, model, trained, y

import fastnn
from fastnn.saving.container import ALIGNMENT, MAX_HEADER, NO_DIGEST, Container, write_container

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """Return the bytes of the file of a model with a training state."""
    path = tmp_path_factory.mktemp("saved") / "model.fastnn"
    with_everything = trained(
        model(batch_norm=True, dropout=0.1),
        y,
        optimizer="adam",
        batch_size=16,
        reduction="mean",
        ema_decay=0.9,
    )
    with_everything.save(path)
    return path.read_bytes()


def split(content):
    """Return the header of a file as a dict, and its data."""
    length = int.from_bytes(content[:8], "little")
    return json.loads(content[8 : 8 + length]), content[8 + length :]


def joined(header, data, pad=True, digest=True):
    """Return the content of a file; its digest of the header is right unless `digest` is False."""
    if digest and isinstance(header, dict) and "__metadata__" in header:
        header["__metadata__"]["fastnn.header"] = NO_DIGEST
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    text += b" " * (-(8 + len(text)) % ALIGNMENT if pad else 0)
    content = len(text).to_bytes(8, "little") + text
    if digest:
        content = content.replace(NO_DIGEST.encode(), hashlib.sha256(content).hexdigest().encode(), 1)
    return content + data


def checksum(header, data):
    """Return the checksum of the data by its definition, in plain Python."""
    total = hashlib.sha256()
    for entry in header.values():
        array = data[slice(*entry["data_offsets"])]
        digest = hashlib.sha256()
        for k in range(0, len(array), 1 << 20):
            chunk = array[k : k + (1 << 20)]
            end = len(chunk) // 4096 * 4096 if len(chunk) >= 1 << 14 else 0
            for block in range(0, end, 4096):
                words = struct.unpack("<512Q", chunk[block : block + 4096])
                digest.update((sum(words) % 2**64).to_bytes(8, "little"))
            digest.update(chunk[end:])
        total.update(digest.digest())
    return total.hexdigest()


def error_of(content, folder):
    """Assert that loading and checking a file of this content raise a ValueError; return its message."""
    path = folder / "other.fastnn"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=re.escape(str(path))) as caught:
        fastnn.load(path)
    assert type(caught.value) is ValueError
    with pytest.raises(ValueError, match=re.escape(str(path))):
        fastnn.info(path, check=True)
    return str(caught.value)


def test_a_file_has_the_layout_of_safetensors_and_aligned_arrays(saved):
    header, data = split(saved)
    assert len(saved) % 4 == 0
    assert (len(saved) - len(data)) % ALIGNMENT == 0
    metadata = header.pop("__metadata__")
    assert metadata["format"] == "fastnn"
    assert metadata["fastnn.version"] == fastnn.__version__
    description = json.loads(metadata["fastnn"])
    assert description["kind"] == "Model"
    place = 0
    for entry in header.values():
        begin, end = entry["data_offsets"]
        assert begin == place
        assert begin % {"F64": 8, "F32": 4, "I64": 8, "U32": 4}[entry["dtype"]] == 0
        place = end
    assert place == len(data)
    assert metadata["fastnn.checksum"] == checksum(header, data)
    assert {"layer.0.weight", "layer.0.bias", "layer.0.scale", "layer.0.running_mean"} <= set(header)
    assert {"average.2.weight", "optimizer.1.0.bias", "order", "generator"} <= set(header)


def test_the_safetensors_package_reads_the_file(saved, tmp_path):
    safetensors = pytest.importorskip("safetensors", reason="safetensors is not installed")
    from safetensors.numpy import load, load_file

    path = tmp_path / "model.fastnn"
    path.write_bytes(saved)
    tensors = load_file(path)
    loaded = fastnn.load(path)
    with Container(path) as file:
        assert set(tensors) == set(file.table)
        for name, array in tensors.items():
            assert file.read(name).tobytes() == array.tobytes(), name
    last = loaded._network.weights(loaded._training.last[0])
    assert (load(saved)["last.1.weight"] == last[1]).all()
    with safetensors.safe_open(path, "np") as opened:
        assert opened.metadata()["format"] == "fastnn"


def test_arrays_of_any_memory_order_and_byte_order_are_kept(tmp_path):
    arrays = {
        "fortran": np.asfortranarray(np.arange(12.0).reshape(3, 4)),
        "strided": np.arange(20, dtype=np.float32)[::3],
        "big-endian": np.arange(5, dtype=">f8"),
        "empty": np.empty((0, 3)),
        "integers": np.arange(-3, 3),
        "words": np.arange(7, dtype=np.uint32),
    }
    write_container(tmp_path / "file", {"format": "fastnn"}, arrays)
    with Container(tmp_path / "file") as file:
        for name, array in arrays.items():
            read = file.read(name)
            assert read.dtype == array.dtype.newbyteorder("=")
            assert np.array_equal(read, array)
        file.check()
    with Container(tmp_path / "file") as file:
        file.check()  # now the check itself must read the arrays


def test_the_checksum_covers_every_byte_of_large_arrays(tmp_path):
    random = np.random.RandomState(0)
    arrays = {
        "large": random.standard_normal(300_001),
        "words": random.randint(0, 2**32, 5_003, dtype=np.uint32),
        "short": random.standard_normal((3, 100)).astype(np.float32),
    }
    write_container(tmp_path / "file", {"format": "fastnn"}, arrays)
    header, data = split((tmp_path / "file").read_bytes())
    assert header.pop("__metadata__")["fastnn.checksum"] == checksum(header, data)
    for place in (0, 4096 * 3 + 5, (1 << 20) - 1, 1 << 20, 2_400_007, len(data) - 1):
        changed = bytearray((tmp_path / "file").read_bytes())
        changed[len(changed) - len(data) + place] ^= 1
        with (
            Container(write(tmp_path, changed)) as file,
            pytest.raises(ValueError, match="its data have been changed"),
        ):
            file.check()


HEADERS = {
    "no JSON": (b"{", "its header is not JSON"),
    "no object": (b"[]", "its header is not a JSON object"),
    "not UTF-8": (b'{"\xff": 1}', "its header is not JSON"),
    "nested": (b"[" * 100_000, "its header"),
    "duplicates": (b'{"a": 1, "a": 2}', "the key 'a' occurs twice"),
    "NaN": (b'{"a": NaN}', "NaN is not a JSON number"),
    "digits": (b'{"a": ' + b"9" * 5000 + b"}", "its header is not JSON"),
    "no metadata": (b"{}", "no __metadata__"),
    "another format": (b'{"__metadata__": {"format": "pt"}}', "a safetensors file of another program"),
    "numbers in metadata": (b'{"__metadata__": {"format": 1}}', "maps text to text"),
    "many values": (b"[" + b"[]," * 3_000_000 + b"[]]", "too many for a file"),
}


@pytest.mark.parametrize("name", HEADERS)
def test_invalid_headers_are_refused(name, tmp_path):
    text, message = HEADERS[name]
    assert message in error_of(joined(text, b"", digest=False), tmp_path)


FOREIGN = {
    "pickle": (pickle.dumps({"a": np.zeros(100)}), "it seems to be a pickle"),
    "empty": (b"", "it has 0 bytes"),
    "short": (b"abc", "it has 3 bytes"),
    "text": (b"layers_dim: [2, 3, 2]\n" * 9, "it seems to be a text file"),
    "JSON": (b'{"layers_dim": [2, 3, 2]}', "a text file, perhaps JSON"),
    "NumPy": (b"\x93NUMPY\x01\x00v\x00" + b" " * 100, "a NumPy array"),
    "HDF5": (b"\x89HDF\r\n\x1a\n" + b"\0" * 100, "an HDF5 file"),
    "huge header": ((MAX_HEADER + 1).to_bytes(8, "little") + b"{}" * 50, "more than 100,000,000"),
    "huger header": (b"\xff" * 8 + b"{}" * 50, "more than 100,000,000"),
    "long header": ((1000).to_bytes(8, "little") + b"{}" * 50, "it is cut off"),
}


@pytest.mark.parametrize("name", FOREIGN)
def test_files_of_other_programs_are_refused_by_name(name, tmp_path):
    content, message = FOREIGN[name]
    assert message in error_of(content, tmp_path)


def test_headers_of_many_small_models_are_not_too_long(tmp_path):
    ensemble = fastnn.MLPEnsembleClassifier(fastnn.MLPClassifier((2,), max_iter=1), 150)
    ensemble.fit(X, y).save(tmp_path / "ensemble.fastnn")
    assert fastnn.info(tmp_path / "ensemble.fastnn").n_members == 150
    assert (fastnn.load(tmp_path / "ensemble.fastnn").predict_proba(X) == ensemble.predict_proba(X)).all()


def test_a_zip_archive_is_refused_by_name(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("data.pkl", b"0" * 1000)
    assert "a ZIP archive" in error_of((tmp_path / "a.zip").read_bytes(), tmp_path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="Windows has no pipes with the names of files")
def test_pipes_and_folders_are_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "pipe"):
        with pytest.raises(ValueError, match="is a folder, a device or a pipe"):
            fastnn.load(path)


@pytest.mark.parametrize("left", [0, 1, 7, 8, 9, 100, 2000, -65, -1])
def test_truncated_files_are_refused(saved, left, tmp_path):
    assert "is not a model saved by fastnn, or is damaged" in error_of(saved[:left], tmp_path)


def test_bytes_after_the_data_are_refused(saved, tmp_path):
    assert "something follows the data" in error_of(saved + b"\0", tmp_path)


ENTRIES = {
    "dtype": ({"dtype": "F16"}, "a dtype other than F64, F32, I64, U32"),
    "dtype of another kind": ({"dtype": ["F64"]}, "a dtype other than"),
    "shape": ({"shape": [3, 3, 3]}, "has 3 dimensions"),
    "negative": ({"shape": [-2, -5]}, "lists of integers from 0"),
    "huge": ({"shape": [2**62, 2**62]}, "lists of integers from 0"),
    "float": ({"shape": [2.0, 5]}, "lists of integers from 0"),
    "boolean": ({"shape": [True, 5]}, "lists of integers from 0"),
    "other shape": ({"shape": [5, 3]}, "must take the bytes"),
    "offsets": ({"data_offsets": [0, 8]}, "must take the bytes"),
    "more offsets": ({"data_offsets": [0, 8, 16]}, "lists of integers from 0"),
    "unknown key": ({"stride": 3}, "needs dtype, shape and data_offsets"),
}


@pytest.mark.parametrize("name", ENTRIES)
def test_invalid_entries_of_the_table_of_arrays_are_refused(name, saved, tmp_path):
    change, message = ENTRIES[name]
    header, data = split(saved)
    header["layer.0.weight"] |= change
    assert message in error_of(joined(header, data), tmp_path)


def edited(saved, *edit):
    """Return the content of a file whose description has another value at a path of keys; digests are right.

    `edit` is the path of keys, and last the value. The value KeyError deletes the key.
    """
    header, data = split(saved)
    *path, key, value = edit
    description = json.loads(header["__metadata__"]["fastnn"])
    part = description
    for name in path:
        part = part[name]
    if value is KeyError:
        del part[key]
    else:
        part[key] = value
    header["__metadata__"]["fastnn"] = json.dumps(description)
    return joined(header, data)


# A path of keys in the description, the value to write there, and the message of the error.
EDITS = [
    ("kind", "plot_history", "no kind of model called 'plot_history'"),
    ("kind", "os.system", "no kind of model called 'os.system'"),
    ("kind", ["Model"], "no kind of model"),
    ("kind", KeyError, "no kind of model"),
    ("prefix", 3, "prefix of a model is not text"),
    ("network", "layers_dim", [2, 5, 4, 3], "another shape than layers_dim says"),
    ("network", "layers_dim", [2, 10**30, 2], "activations is not a list"),
    ("network", "layers_dim", [2], "activations is not a list"),
    ("network", "layers_dim", "abc", "layers_dim is not a list"),
    ("network", "activations", ["tanh", "os", "tanh"], "activation must be one of"),
    ("network", "dtype", "float32", "is float64 of the shape"),
    ("network", "dtype", "object", "dtype or dropout of the network"),
    ("network", "loss", {"$new": "Popen", "with": {}}, "no loss, optimizer or schedule called 'Popen'"),
    ("network", "loss", {"$new": "Adam", "with": {}}, "the network has no loss"),
    ("network", "loss", {"$new": "SoftmaxCrossEntropy", "with": {"label_smoothing": 7}}, "label_smoothing"),
    ("network", "loss", {"$new": "SoftmaxCrossEntropy", "with": {"novelty": 7}}, "no argument 'novelty'"),
    ("network", "loss", {"$new": "SoftmaxCrossEntropy"}, "needs its arguments"),
    ("network", "loss", {"$call": "os.system"}, "there is no value $call"),
    ("network", "dropout", [0.1, 7.0, 0.0], "dropout[1]"),
    ("network", "dropout", [0.1], "dropout must be one rate"),
    ("network", "batch_norm", "yes", "batch_norm must be True or False"),
    ("network", KeyError, "description of the network is not"),
    ("backend", "fortran", "backend"),
    ("training", "n_steps", -1, "n_steps must be an integer"),
    ("training", "n_steps", 2**70, "n_steps must be an integer"),
    ("training", "seed", {"$int": "99999999999999999999999"}, "seed must be an integer"),
    ("training", "seed", {"$int": 3}, "$int must be of type str"),
    ("training", "settings", {}, "optimizer"),
    ("training", "settings", "optimizer", "adam", "no optimizer or schedule"),
    ("training", "record_every", 2**31, "4 records do not fit 16 steps"),
    ("training", "n_steps", 4, "4 records do not fit 4 steps"),
    ("training", "settings", "clip_norm", [], "a setting of the training is not a number"),
    ("training", "settings", "batch_size", -16, "batch_size must be an integer"),
    ("training", "memory", "plateau", [1.0], "the plateau does not have two numbers"),
    ("training", "memory", "plateau", [1.0, -1.0], "epochs without an improvement is -1.0"),
    ("training", "memory", "plateau", [1.0, {"$float": "nan"}], "epochs without an improvement is nan"),
    ("training", "memory", {}, "has_average"),
    ("training", "memory", "has_average", False, "average of the parameters does not fit ema_decay"),
    ("training", "memory", None, "the last parameters have neither a best epoch"),
    ("training", "settings", "batch_size", 60, "the order of the samples does not fit their number"),
    ("training", "data", "n_samples", 61, "the order of the samples does not fit their number"),
    ("training", "data", "n_samples", "60", "n_samples must be an integer"),
    ("training", "data", [], "does not describe its data"),
    ("training", 7, "training state is not a JSON object"),
    ("history", 7, "not subscriptable"),
]


@pytest.mark.parametrize("edit", EDITS, ids=lambda edit: f"{edit[:-1]}")
def test_invalid_descriptions_are_refused(edit, saved, tmp_path):
    path = tmp_path / "other.fastnn"
    path.write_bytes(edited(saved, *edit[:-1]))
    with pytest.raises(ValueError, match=re.escape(edit[-1])):
        fastnn.load(path)


@pytest.mark.parametrize("name", ["a", "the", "m", "is not a model"])
def test_a_name_that_occurs_in_messages_does_not_change_the_error(name, saved, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / name
    path.write_bytes(edited(saved, "training", "memory", {}))
    with pytest.raises(ValueError, match=f"^{name} holds a description that fits no model: 'has_average'"):
        fastnn.load(name)
    path.write_bytes(edited(saved, "training", "memory", "has_average", None))
    with pytest.raises(ValueError, match=f"^{name} holds a description that fits no model: "):
        fastnn.load(name)
    path.write_bytes(saved[:-1])
    with pytest.raises(
        ValueError, match=f"^{name} is not a model saved by fastnn, or is damaged: its arrays"
    ):
        fastnn.load(name)


def test_arrays_that_would_make_kernels_read_out_of_bounds_are_refused(saved, tmp_path):
    loaded = fastnn.load(write(tmp_path, saved))
    for name, place, value in [("order", 3, 60), ("order", 3, -1), ("order", 3, 4), ("generator", 624, 625)]:
        array = getattr(loaded._training.memory, name)
        before, array[place] = array[place], value
        loaded.save(tmp_path / "bad.fastnn")
        array[place] = before
        with pytest.raises(ValueError, match="order of the samples is not|generator's position"):
            fastnn.load(tmp_path / "bad.fastnn")


def write(folder, content):
    (folder / "other.fastnn").write_bytes(content)
    return folder / "other.fastnn"


def test_fitted_attributes_cannot_replace_methods(tmp_path):
    classifier().fit(X, y).save(tmp_path / "classifier.fastnn")
    content = (tmp_path / "classifier.fastnn").read_bytes()
    for name in ("predict", "model_", "coefs_", "__class__", "_state", "_fit", "random_state"):
        path = write(tmp_path, edited(content, "fitted", name, "text"))
        with pytest.raises(ValueError, match="fitted attribute"):
            fastnn.load(path)
    for name, value in [
        ("n_outputs_", 3),
        ("n_features_in_", 5),
        ("classes_", {"$array": 3}),
        ("classes_", [0]),
    ]:
        path = write(tmp_path, edited(content, "fitted", name, value))
        with pytest.raises(ValueError, match="fit|takes|classes_"):
            fastnn.load(path)


def test_a_file_of_a_newer_version_says_which_version_reads_it(saved, tmp_path):
    header, data = split(edited(saved, "reader", 2))
    header["__metadata__"]["fastnn.version"] = "7.5"
    message = error_of(joined(header, data), tmp_path)
    assert "was saved by fastnn 7.5 in a format that fastnn" in message
    assert "install fastnn-numba 7.5 or newer" in message


def test_entries_that_a_later_version_adds_are_ignored(saved, tmp_path):
    fastnn.load(write(tmp_path, edited(saved, "version", 9)))
    fastnn.load(write(tmp_path, edited(saved, "novelty", {"a": 1})))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("repaired", [False, True], ids=["changed", "with repaired digests"])
@pytest.mark.parametrize("name", ["model, everything", "classifier, early", "ensemble"])
def test_mutated_files_raise_nothing_but_value_errors(name, repaired, tmp_path):
    make(name).save(tmp_path / "model.fastnn")
    for loaded in loaded_mutations(tmp_path / "model.fastnn", repaired, 0):
        # The arrays fit the description: a prediction may be wrong or raise an error, and does not crash.
        with contextlib.suppress(ValueError, TypeError, IndexError):
            loaded.predict(X)


def test_memory_is_bounded_by_the_size_of_the_file(tmp_path):
    large = fastnn.Model([300, 250, 10], random_state=0)
    samples, labels = np.random.RandomState(0).normal(size=(20, 300)), np.arange(20) % 10
    large.train(samples, labels, num_passes=1, optimizer="adam", epsilon=1e-3)
    path = tmp_path / "large.fastnn"
    large.save(path)
    content = bytearray(path.read_bytes())
    size = len(content)
    fastnn.load(path), fastnn.info(path)  # the first calls import modules, which take memory as well
    assert _peak(lambda: fastnn.load(path)) < 1.5 * size
    assert _peak(lambda: fastnn.info(path)) < 0.1 * size
    random = np.random.RandomState(0)
    for _ in range(20):
        changed = content.copy()
        changed[random.randint(0, size)] ^= 1 << random.randint(0, 8)
        changed[random.randint(0, 6000)] = random.randint(32, 127)
        path.write_bytes(changed)

        def load():
            with pytest.raises(ValueError, match="large.fastnn"):
                fastnn.load(path)

        assert _peak(load) < 1.6 * size


def _peak(function):
    """Return the largest number of bytes that a call has allocated at any time."""
    tracemalloc.start()
    try:
        function()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
