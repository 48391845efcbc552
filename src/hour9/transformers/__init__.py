"""Attention and what is built of it; tasks: sentiment, textgen, vision, translation."""
