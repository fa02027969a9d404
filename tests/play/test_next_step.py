"""The next step in numbers equals the one that the training then does, also from numbers set by hand."""

import numpy as np
import pytest

STATES = (
    {},
    {"optimizer": "momentum", "momentum": 0.8, "dampening": 0.1, "batch_size": 32, "l1": 0.01},
    {"optimizer": "nesterov", "batch_norm": True, "reduction": "mean"},
    {"optimizer": "adagrad", "dropout": 0.3, "clip_norm": 0.5},
    {"optimizer": "rmsprop", "momentum": 0.5, "dtype": "float32", "schedule": "cosine_decay", "passes": 9},
    {"optimizer": "adamw", "max_norm": 0.4},
    {"layers": [128, 128], "activations": ["relu", "tanh"], "batch_size": 2, "init": "he_normal"},
)


@pytest.mark.parametrize("state", STATES, ids=str)
def test_a_frame_of_a_training_that_rests_has_the_numbers_of_the_next_step(page, state):
    def resting(step):
        """Return the frame of a step, with the numbers of the next one."""

        def find():
            return [frame for frame in page.frames if "update" in frame[0] and frame[0]["step"] == step]

        page.wait(find)
        return find()[-1]

    page.send("view", sample=0)
    page.start(**state)
    for step in range(3):
        header, arrays = resting(step)
        page.send("step")
        after = resting(step + 1)[1]["weights"]
        tolerance = 1e-4 if state.get("dtype") == "float32" else 1e-5
        np.testing.assert_allclose(arrays["update.next"], after, rtol=tolerance, atol=1e-6)
        if not state:
            known, w = header["update"], arrays["weights"].astype(float)
            is_weight = np.zeros(len(w), bool)
            for part in page.received("started")[0]["layout"]:
                if part["name"].startswith("W"):
                    is_weight[part["offset"] :][: np.prod(part["shape"])] = True
            penalty = known["l2"] * w * is_weight
            step_by_hand = w - known["rate"] * (arrays["update.g"] + penalty)
            np.testing.assert_allclose(step_by_hand, after, rtol=1e-5, atol=1e-6)
            assert known["n"] == 160
        if step == 1:  # the training continues from a number that is set by hand
            index = page.received("started")[0]["layout"][-2]["offset"]  # the last layer's first weight
            page.send("parameter", run=1, index=index, value=0.625)
            page.wait(lambda: page.frames[-1][1]["weights"][index] == np.float32(0.625))
            page.wait(lambda: "update" in page.frames[-1][0])
    if not state:
        page.send("play")
        page.wait(lambda: page.frames[-1][0]["playing"])
        assert "update" not in page.frames[-1][0]
