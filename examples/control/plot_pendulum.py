"""
A pendulum swings up by planning through its model
==================================================

Model predictive control: a network learns how a pendulum moves, and before every step, plans of torques are
improved by gradient descent through the network. ``backward`` returns the derivatives by the network's
inputs, of which the torque is one; a chain of 25 frozen passes is the horizon. The motor is too weak to lift
the pendulum at once: it must swing.
"""

# sphinx_gallery_thumbnail_number = 1
import matplotlib.pyplot as plt
import numpy as np

import fastnn

HORIZON, N_PLANS, N_DESCENTS = 25, 16, 8
random = np.random.default_rng(0)


def move(state, torque):
    """Return the states (n, 2), angle from the top and speed, one twentieth of a second later."""
    angle, speed = state.T
    speed = np.clip(speed + 0.05 * (15 * np.sin(angle) + 3 * torque), -8, 8)
    return np.stack([angle + 0.05 * speed, speed], axis=1)


def encode(state, torque):
    """Return the network's inputs (n, 4)."""
    angle, speed = state.T
    return np.stack([np.sin(angle), np.cos(angle), speed / 8, torque / 2], axis=1)


# %%
# The network learns the change of the state, doubled, from random states and torques.
states = random.uniform((-4, -8), (4, 8), (4000, 2))
torques = random.uniform(-2, 2, 4000)
model = fastnn.Model(
    [4, 32, 32, 2],
    output_activation="identity",
    loss="squared_error",
    init="glorot_uniform",
    random_state=0,
)
model.train(
    encode(states, torques),
    2 * (move(states, torques) - states),
    num_passes=60,
    epsilon=3e-3,
    batch_size=32,
    optimizer="adam",
    schedule="cosine_decay",
    reduction="mean",
    reg_lambda=0,
    random_state=0,
)

# %%
# A ``Backprop`` keeps the outputs of its last forward pass, so each step of the horizon has its own. The loop
# back is the chain rule by hand: through the network, and through sine and cosine of the angle.
passes = [fastnn.Backprop(model, frozen=True) for _ in range(HORIZON)]


def improve(plans, state):
    """Return plans (n, HORIZON) after gradient descent, and the cost of each before the last step of it."""
    for _ in range(N_DESCENTS):
        path = [np.repeat(state, len(plans), axis=0)]
        for k, net in enumerate(passes):
            path.append(path[-1] + net.forward(encode(path[-1], plans[:, k])) / 2)
        costs = 0.001 * (plans**2).sum(axis=1)
        costs += sum(1 - np.cos(angle) + 0.01 * speed**2 for angle, speed in (p.T for p in path[1:]))
        d_state, d_plans = np.zeros((len(plans), 2)), 0.002 * plans
        for k in reversed(range(HORIZON)):
            d_state += np.stack([np.sin(path[k + 1][:, 0]), 0.02 * path[k + 1][:, 1]], axis=1)
            d_sine, d_cosine, d_speed, d_torque = passes[k].backward(d_state / 2, parameters=False).T
            d_plans[:, k] += d_torque / 2
            angle = path[k][:, 0]
            d_state += np.stack([d_sine * np.cos(angle) - d_cosine * np.sin(angle), d_speed / 8], axis=1)
        longest = np.abs(d_plans).max(axis=1, keepdims=True)
        plans = np.clip(plans - 0.3 * d_plans / np.maximum(longest, 1e-9), -2, 2)
    return plans, costs


# %%
# The best plan's first torque is applied. The rest of it, shifted by a step, and noisy copies of it are the
# next plans.
state, plans, course = np.array([[np.pi, 0.0]]), random.uniform(-2, 2, (N_PLANS, HORIZON)), []
for _ in range(120):
    plans, costs = improve(plans, state)
    best = plans[costs.argmin()]
    course.append((state[0, 0], best[0]))
    state = move(state, best[:1])
    shifted = np.roll(best, -1)
    noise = random.normal(scale=0.7, size=(N_PLANS - 1, HORIZON))
    plans = np.vstack([shifted, np.clip(shifted + noise, -2, 2)])

angles, applied = np.array(course).T
seconds = 0.05 * np.arange(len(course))
figure, axes = plt.subplots(2, 1, figsize=(8, 4), sharex=True, layout="constrained")
axes[0].plot(seconds, np.degrees(angles))
axes[0].set(ylabel="angle from the top\n(degrees)")
axes[1].step(seconds, applied, where="post")
axes[1].set(ylabel="torque", xlabel="time (s)")
print(f"total cost {np.sum(1 - np.cos(angles)):.1f}, last angle {np.degrees(angles[-1]):.1f} degrees")
plt.show()
