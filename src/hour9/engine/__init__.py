"""What every training shares: settings, device, checkpoints, the supervised loop."""
