"""Transformers, graph networks and agents, from versioned data to a registry you can trust."""
