"""
Balancing a pole: deep Q-learning and a policy gradient
=======================================================

CartPole from `Gymnasium <https://gymnasium.farama.org>`_ (``pip install fastnn-numba[control]``) pushes a
cart to the left or to the right so that the pole on it stays upright, for at most 500 steps. Two classical
algorithms learn it, each in some thirty lines around ``forward``, ``backward`` and ``step``.
"""

import gymnasium
import matplotlib.pyplot as plt
import numpy as np

import fastnn

GAMMA = 0.99  # discount of later rewards

# %%
# Deep Q-learning (Mnih et al., "Human-level control through deep reinforcement learning", 2015): the network
# estimates the return of both actions. After every step in the environment, a batch of remembered steps
# teaches it the reward plus the discounted value of the next state, as an older copy of itself sees it.


def learn_q_values(seed: int, n_steps: int, batch_size: int = 64) -> list[float]:
    """Return the returns of the episodes."""
    random, env = np.random.default_rng(seed), gymnasium.make("CartPole-v1")
    layout = {"output_activation": "identity", "init": "he_uniform", "random_state": seed}
    net = fastnn.Backprop(fastnn.Model([4, 64, 64, 2], **layout), "adam")
    old = fastnn.Backprop(fastnn.Model([4, 64, 64, 2], **layout), frozen=True)
    states, following = np.zeros((n_steps, 4)), np.zeros((n_steps, 4))
    actions, ended = np.zeros(n_steps, int), np.zeros(n_steps, bool)
    returns, total = [], 0.0
    state, _ = env.reset(seed=seed)
    for k in range(n_steps):
        explores = random.random() < max(0.05, 1 - k / 5000)
        action = int(random.integers(2)) if explores else int(net.forward(state[None]).argmax())
        states[k], actions[k] = state, action
        state, reward, ended[k], is_cut, _ = env.step(action)
        following[k], total = state, total + reward
        if ended[k] or is_cut:
            returns.append(total)
            (state, _), total = env.reset(), 0.0
        if k < 500:
            continue
        drawn = random.integers(k + 1, size=batch_size)
        goal = 1 + GAMMA * ~ended[drawn] * old.forward(following[drawn]).max(axis=1)  # every reward is 1
        Q, chosen = net.forward(states[drawn]), (np.arange(batch_size), actions[drawn])
        dQ = np.zeros_like(Q)
        dQ[chosen] = np.clip(Q[chosen] - goal, -1, 1) / batch_size  # the slope of Huber's loss
        net.backward(dQ, inputs=False)
        net.step(1e-3)
        if k % 200 == 0:
            old.parameters[:] = net.parameters
    return returns


# %%
# The policy gradient (Williams, "Simple statistical gradient-following algorithms for connectionist
# reinforcement learning", 1992) with a baseline: two outputs are scores of the actions, and the third
# estimates the return. An action that led to more than the estimate becomes more probable. A frozen
# ``Backprop`` of the same model chooses the actions.


def learn_policy(seed: int, n_episodes: int) -> list[float]:
    """Return the returns of the episodes, each of which is one step of Adam."""
    random, env = np.random.default_rng(seed), gymnasium.make("CartPole-v1")
    model = fastnn.Model([4, 64, 64, 3], output_activation="identity", init="he_uniform", random_state=seed)
    net, actor = fastnn.Backprop(model, "adam"), fastnn.Backprop(model, frozen=True)
    returns = []
    for episode in range(n_episodes):
        (state, _), states, actions, is_over = env.reset(seed=seed + episode), [], [], False
        while not is_over:
            z = actor.forward(state[None])[0]
            action = int(random.random() < 1 / (1 + np.exp(z[0] - z[1])))
            states.append(state)
            actions.append(action)
            state, _, has_fallen, is_cut, _ = env.step(action)
            is_over = has_fallen or is_cut
        n = len(actions)
        returns.append(float(n))
        gains = (1 - GAMMA ** np.arange(n, 0, -1)) / (1 - GAMMA) / 50  # discounted and scaled
        Z = net.forward(np.array(states))
        right = 1 / (1 + np.exp(Z[:, 0] - Z[:, 1]))  # probability of action 1
        advantage = gains - Z[:, 2]
        slope = (right - actions) * advantage  # of -advantage * log(probability of the action)
        net.backward(np.stack([-slope, slope, -advantage / 2], axis=1) / n, inputs=False)
        net.step(5e-3)
    return returns


# %%
curves = {
    "deep Q-learning, 10,000 steps": learn_q_values(seed=0, n_steps=10_000),
    "policy gradient, 250 episodes": learn_policy(seed=0, n_episodes=250),
}
figure, axes = plt.subplots(1, 2, figsize=(9, 3.2), sharey=True, layout="constrained")
for ax, (title, returns) in zip(axes, curves.items(), strict=True):
    ax.plot(returns, color="0.8")
    means = np.convolve(returns, np.ones(10) / 10, mode="valid")
    ax.plot(np.arange(len(means)) + 9, means)
    ax.set(title=title, xlabel="episode", ylim=(0, 510))
axes[0].set_ylabel("steps until the pole falls,\nand mean of ten episodes")
plt.show()
