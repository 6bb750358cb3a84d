"""What is lost by itself, apart from any fade: elements, tokens, packets or frames.

Units are counted over the whole stream, so that it makes no difference how it is cut into frames.
"""

from __future__ import annotations

import numpy as np

from channel_emulator import gilbert_elliott
from channel_emulator.config import ChannelConfig
from channel_emulator.draws import Draws, Purpose
from channel_emulator.events import Bools, happens
from channel_emulator.knobs import LossModel, LossUnit
from channel_emulator.place import Place


def lost_elements(
    config: ChannelConfig, draws: Draws, place: Place, shape: tuple[int, int], item_bytes: int
) -> Bools:
    """True where lost, for `shape` = [tokens, hidden]: [tokens, 1] where whole tokens are.

    Args:
        item_bytes: of an encoded element; packets are made of them.
    """
    tokens, hidden = shape
    match config.loss_unit:
        case LossUnit.ELEMENT if config.loss_model is LossModel.IID:
            # As many draws as elements, all at once: faster than their gaps unless loss is rare.
            at = place.window, place.position
            return draws.events(Purpose.LOSS, *at, shape, config.loss)
        case LossUnit.ELEMENT:
            elements = lost_units(config, draws, place.offset * hidden, tokens * hidden)
            return elements.reshape(shape)
        case LossUnit.TOKEN:
            return lost_units(config, draws, place.offset, tokens)[:, None]
        case LossUnit.PACKET:
            first_byte = place.offset * hidden * item_bytes
            last_byte = first_byte + tokens * hidden * item_bytes - 1
            first = first_byte // config.packet_bytes
            packets = lost_units(config, draws, first, last_byte // config.packet_bytes - first + 1)
            skipped = first_byte - first * config.packet_bytes
            elements = elements_of_packets(
                packets, config.packet_bytes, skipped, tokens * hidden, item_bytes
            )
            return elements.reshape(shape)
        case LossUnit.FRAME:
            return lost_units(config, draws, place.sequence, 1).repeat(tokens)[:, None]


def lost_units(config: ChannelConfig, draws: Draws, first: int, count: int) -> Bools:
    """Which of the units `first` to `first + count - 1` of the stream are lost: [count]."""
    if config.loss_model is LossModel.GILBERT_ELLIOTT:
        return gilbert_elliott.lost(config, draws, first, count)
    return happens(draws, Purpose.LOSS, config.loss, first, count)


def elements_of_packets(
    lost: Bools, packet_bytes: int, skipped: int, elements: int, item_bytes: int
) -> Bools:
    """Elements with a byte in a lost packet, [elements], of consecutive packets `lost`.

    Args:
        skipped: bytes of the first packet before the first element.
    """
    (packets,) = np.nonzero(lost)
    begin = packets * packet_bytes - skipped
    low = np.maximum(begin // item_bytes, 0)
    high = np.minimum(-(-(begin + packet_bytes) // item_bytes), elements)
    low[1:] = np.maximum(low[1:], high[:-1])  # both may have a byte of one element
    edges = np.concatenate([[0], np.stack([low, high], axis=1).ravel(), [elements]])
    kept_and_lost = np.zeros(len(edges) - 1, dtype=np.bool_)
    kept_and_lost[1::2] = True
    return np.repeat(kept_and_lost, np.diff(edges))
