"""Learning where to split: rewards, environment, agents and the optimum. Serving needs none of it
but the torch-free policies of `baselines`."""
