"""Reinforcement learning; tasks: taxi, cartpole.

To read it from the ground up: decision_process, qlearning and taxi (NumPy), then deep Q-learning:
qnetwork, replay, learner (its by_hand and adam can wait), dqn and cartpole.
"""
