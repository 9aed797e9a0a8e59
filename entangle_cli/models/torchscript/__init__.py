"""TorchScript files: their graph, their layers, their values."""
