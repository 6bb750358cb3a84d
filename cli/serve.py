"""`airsplit serve edge|channel|controller`."""

from __future__ import annotations

import argparse
import importlib
import logging
from argparse import RawDescriptionHelpFormatter

SERVICES = {
    "edge": ("edge_server", "runs layers [p, L), the final norm and the head"),
    "channel": ("channel_emulator", "the radio: a proxy in front of the edge that impairs frames"),
    "controller": ("controller", "hosts the policy that moves the split"),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    services = parser.add_subparsers(dest="service", metavar="SERVICE", required=True)
    for name, (package, help_) in SERVICES.items():
        service = services.add_parser(
            name, help=help_, description=help_, formatter_class=RawDescriptionHelpFormatter
        )
        module = importlib.import_module(f"{package}.__main__")
        module.add_arguments(service)
        service.set_defaults(serve=module.run)


def run(args: argparse.Namespace) -> int:
    """Serves until SIGTERM or SIGINT."""
    logging.basicConfig(
        level=args.log_level.upper(), format=f"{args.service} %(levelname)s %(message)s"
    )
    return int(args.serve(args))
