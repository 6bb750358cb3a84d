"""The `airsplit` command: starts services, runs the UE, calls the experiments."""
