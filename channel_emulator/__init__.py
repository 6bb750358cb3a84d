"""The radio between the UE and the edge: pure mathematics, and a gRPC proxy that applies it.

`config` says what the channel is, `radio` does it to values in process, `proxy` does it to frames
on their way. `fading`, `noise`, `loss`, `harq` and `link` hold one effect each.
"""
