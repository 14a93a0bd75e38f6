"""How a recipe is trained: loop, precision, optimisers, checkpoints, run folders."""
