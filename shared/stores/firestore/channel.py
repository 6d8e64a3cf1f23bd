"""The connection under the library's client, made here for two things that the library does not offer.

It can be closed, and it comes back within a second of an outage's end. The library leaves gRPC to wait longer after
each try to connect that failed, two minutes at last, in which it answers UNAVAILABLE for a server that is there.
Source: https://github.com/grpc/grpc/blob/master/doc/connection-backoff.md.
"""

from typing import Any

import grpc  # type: ignore[import-untyped]
from google.cloud.firestore import Client
from google.cloud.firestore_v1.services.firestore import FirestoreClient
from google.cloud.firestore_v1.services.firestore.transports import FirestoreGrpcTransport

_OPTIONS = [
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1000),
    # As the library sets them.
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
]


def open_channel(client: Client) -> Any:
    """Give a client that has not been used yet its connection, and return it."""
    if client._emulator_host is not None:
        channel = grpc.insecure_channel(client._emulator_host, _OPTIONS)
    else:
        channel = FirestoreGrpcTransport.create_channel(
            client._target, credentials=client._credentials, options=_OPTIONS
        )
    client._firestore_api_internal = FirestoreClient(
        transport=FirestoreGrpcTransport(host=client._target, channel=channel)
    )
    return channel
