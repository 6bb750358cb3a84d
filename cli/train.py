"""`airsplit train`: a surrogate of perplexity, or a policy."""

from __future__ import annotations

import argparse

from cli import train_policy, train_surrogate

EPILOG = """examples:
  airsplit train surrogate --records records.jsonl --out surrogate
  airsplit train policy --algorithm ppo --reward surrogate --case A --actions 3 --out policy
  airsplit train policy --help
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = EPILOG
    commands = parser.add_subparsers(dest="what", metavar="WHAT", required=True)
    for name, module, help_ in (
        ("surrogate", train_surrogate, "an MLP of perplexity, from records"),
        ("policy", train_policy, "PPO, A2C or DQN, on a surrogate or another reward"),
    ):
        command = commands.add_parser(
            name,
            help=help_,
            description=help_,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        module.add_arguments(command)
        command.set_defaults(train=module.run)


def run(args: argparse.Namespace) -> int:
    return int(args.train(args))
