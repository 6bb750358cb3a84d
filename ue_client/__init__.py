"""The UE process: the embedding and layers [0, p), one synchronous loop over tokens."""
