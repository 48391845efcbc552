"""What MLflow holds: runs, versions, aliases, and the hashes that tie them to DVC's outs."""
