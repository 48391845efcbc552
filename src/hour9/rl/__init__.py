"""Reinforcement learning: decision processes, Q-learning, deep Q-learning; taxi and cartpole."""
