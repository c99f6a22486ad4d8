"""How a network is trained: batches of pictures, what is done to them, the loop, and experts' trajectories."""
