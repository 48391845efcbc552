"""Attention and what is built of it; tasks: sentiment, textgen, vision, translation.

To read it from the ground up: attention_numpy, encoder_numpy, then the same in PyTorch: attention,
positions, layers, load_weights (this is BERT and GPT-2); then a model with its task: bert and
sentiment; gpt and textgen; vit and vision; seq2seq, beam and translation.
"""
