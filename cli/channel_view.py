"""A channel's state as text: what `airsplit channel` prints."""

from __future__ import annotations

from airsplit.v1 import channel_pb2
from channel_emulator.wire import from_proto

SHOWN_SESSIONS = 2
"""Sessions that one line of `watch` has room for."""


def summary(state: channel_pb2.ChannelState) -> list[str]:
    """Version, counters, scenario, transport, every knob, and each session's last frame."""
    lines = [f"{_version(state)}, {state.sessions} sessions, {_frames(state)}"]
    if state.scenario:
        lines.append(f"scenario {_scenario(state)}")
    if state.transport_ms:
        lines.append(f"{state.transport_ms:g} ms of transport each way are part of the delay")
    knobs = from_proto(state.config).to_dict()
    lines += [f"  {key} = {value}" for key, value in knobs.items()]
    return lines + [_session(link) for link in state.links]


def line(state: channel_pb2.ChannelState) -> str:
    """One state of many: where the channel is, and what the sessions meet."""
    parts = [f"{state.channel_time_ns / 1e9:9.2f} s", _version(state)]
    parts.append(_scenario(state) if state.scenario else state.config.preset)
    parts += [f"{state.sessions} sessions", _frames(state)]
    links = [link for link in state.links if link.frames]
    for link in links[:SHOWN_SESSIONS]:
        parts.append(f"{link.session_id[:8]} {_quality(link.last)}")
    if len(links) > SHOWN_SESSIONS:
        parts.append(f"and {len(links) - SHOWN_SESSIONS} more")
    return "  ".join(parts)


def _version(state: channel_pb2.ChannelState) -> str:
    to_come = state.last_version - state.config_version
    return f"version {state.config_version}" + (f" of {state.last_version}" if to_come > 0 else "")


def _frames(state: channel_pb2.ChannelState) -> str:
    dropped = f" ({state.dropped_frames} dropped)" if state.dropped_frames else ""
    return f"{state.frames} frames{dropped}"


def _scenario(state: channel_pb2.ChannelState) -> str:
    at_s, duration_s = state.channel_time_ns / 1e9, state.scenario_duration_ns / 1e9
    where = f"{at_s:.1f} of" if at_s < duration_s else "ended after"
    return f"{state.scenario} {where} {duration_s:.1f} s"


def _session(link: channel_pb2.SessionChannel) -> str:
    head = f"session {link.session_id[:8]} of {link.ue_id}: {link.frames} frames"
    if not link.frames:
        return head
    last = link.last
    wait_ms, air_ms, delay_ms = (ns / 1e6 for ns in (last.queue_ns, last.airtime_ns, last.delay_ns))
    return (
        f"{head}, last: {_quality(last)}, m {_number(last.estimate.m)} estimated; "
        f"queue {wait_ms:.2f}, airtime {air_ms:.2f}, delay {delay_ms:.2f} ms; "
        f"version {last.config_version}"
    )


def _quality(report: channel_pb2.ChannelReport) -> str:
    """The truth, with the receiver's estimate of it in brackets; and what it came of, at h = 1."""
    truth, estimate = report.truth, report.estimate
    found = ", ".join(
        f"{name} {_number(known)} ({_number(estimated)}){unit}"
        for name, known, estimated, unit in (
            ("sigma", truth.sigma, estimate.sigma, ""),
            ("loss", truth.loss, estimate.loss, ""),
            ("snr", truth.snr_db, estimate.snr_db, " dB"),
        )
    )
    sigma, snr = _number(truth.configured_sigma), _number(truth.configured_snr_db)
    return f"{found}, configured sigma {sigma}, snr {snr} dB"


def _number(value: float) -> str:
    """Where nothing can be said, a dash."""
    return "-" if value != value else f"{value:.3g}"
