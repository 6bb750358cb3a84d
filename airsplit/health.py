"""`python -m airsplit.health HOST:PORT [SERVICE]`: gRPC's health check from the command line.

Exit code 0: it serves; 1: it does not, or not as it should, with the reason. These two are what
Docker's HEALTHCHECK knows. 2: bad input, as everywhere; nobody has been asked then.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from airsplit.command_line import Parser, report_errors
from airsplit.errors import InputError, PeerUnavailableError, RemoteError
from airsplit.rpc import connect, parse_address, translate

_STATUS = health_pb2.HealthCheckResponse.ServingStatus


def check(address: str, service: str, timeout_s: float) -> str:
    """What the server at `address` says of `service` ("" asks for the server as a whole):
    "SERVING", "NOT_SERVING" or "SERVICE_UNKNOWN".

    Raises:
        InputError: the address is none.
        PeerUnavailableError: no answer within `timeout_s`, or something else answers there.
        RemoteError: the check itself failed there.
    """
    parse_address("HOST:PORT", address)
    with connect(address) as channel:
        try:
            response = health_pb2_grpc.HealthStub(channel).Check(
                health_pb2.HealthCheckRequest(service=service), timeout=timeout_s
            )
        except grpc.RpcError as error:
            if error.code() is grpc.StatusCode.NOT_FOUND:
                return str(_STATUS.Name(_STATUS.SERVICE_UNKNOWN))
            raise translate(error, "server", address) from error
    return str(_STATUS.Name(response.status))


def main(argv: Sequence[str] | None = None) -> int:
    parser = Parser(
        prog="python -m airsplit.health",
        description="Asks a server whether it serves. Exit code 0: yes; 1: no, or no answer; "
        "2: bad input.",
        epilog="example: python -m airsplit.health 127.0.0.1:50051 airsplit.v1.Edge",
    )
    parser.add_argument("address", metavar="HOST:PORT")
    parser.add_argument(
        "service", metavar="SERVICE", nargs="?", default="", help="full name (default: the server)"
    )
    parser.add_argument(
        "--timeout", type=float, default=3.0, metavar="S", help="above 0, seconds (default 3)"
    )
    args = parser.parse_args(argv)

    def run() -> int:
        if not 0 < args.timeout <= 86_400:
            raise InputError.of("--timeout", args.timeout, "above 0, up to 86400 seconds")
        try:
            status = check(args.address, args.service, args.timeout)
        except (PeerUnavailableError, RemoteError) as error:
            print(error)
            return 1
        print(f"{args.service or 'server'} at {args.address}: {status}")
        return 0 if status == "SERVING" else 1

    return report_errors("airsplit.health", run)


if __name__ == "__main__":
    sys.exit(main())
