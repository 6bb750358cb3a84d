"""What UE and edge have in common: partitions, K/V, frames, errors, and the ground of gRPC."""

import os

# gRPC's core reads this once, when it is first imported; its INFO lines ("Got goaway") would stand
# between ours when a peer stops in good order.
os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
