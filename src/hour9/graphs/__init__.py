"""Message passing; tasks: nodes, links, molecules.

To read it from the ground up: representations, message_passing (NumPy), then the same in PyTorch:
sparse, gcn, gat, mpnn; then what trains them: receptive_field and nodes; gae and links; batches,
gin, set_to_set and molecules.
"""
