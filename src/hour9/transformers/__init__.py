"""Attention and what is built of it; tasks: sentiment, vision, translation."""
