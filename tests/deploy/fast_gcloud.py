"""What the tests find as gcloud: hands the call to gcloud_server.py and ends as it did there.

Runs without the standard library's slower half: it is started hundreds of times. A variable that the SDK reads while
it is imported cannot be honoured by a process that has imported it: such a call goes to the SDK's launcher.
"""

import _signal
import _socket
import marshal
import posix
import sys

IMPORT_TIME = (b"CLOUDSDK_PYTHON", b"CLOUDSDK_API_CLIENT_OVERRIDES_", b"CLOUDSDK_ARTIFACTS_", b"GCE_METADATA_")
IMPORT_TIME += (b"_ARGCOMPLETE", b"NO_GCE_CHECK", b"PROTOCOL_BUFFERS_", b"SSLKEYLOGFILE")


def _status(connection):
    """Return the exit status; a negative one is the signal that ended it."""
    while True:
        try:
            answer = connection.recv(4)
        except KeyboardInterrupt:
            connection.send(bytes([_signal.SIGINT]))
            continue
        if len(answer) != 4:
            raise SystemExit("fast gcloud: its server went away")
        return int.from_bytes(answer, sys.byteorder, signed=True)


def _main():
    folder = __file__.rpartition("/")[0].rpartition("/")[0]
    if any(name.startswith(IMPORT_TIME) for name in posix.environ):
        posix.execve(f"{folder}/launcher", [f"{folder}/launcher", *sys.argv[1:]], posix.environ)
    umask = posix.umask(0)
    posix.umask(umask)
    arguments = [argument.encode("utf-8", "surrogateescape") for argument in sys.argv[1:]]
    message = marshal.dumps((arguments, dict(posix.environ), posix.getcwdb(), umask))
    connection = _socket.socket(_socket.AF_UNIX)
    connection.connect(f"{folder}/socket")
    files = b"".join(file.to_bytes(4, sys.byteorder) for file in (0, 1, 2))
    length = len(message).to_bytes(4, sys.byteorder)
    connection.sendmsg([length], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, files)])
    connection.sendall(message)
    status = _status(connection)
    if status < 0:
        _signal.signal(-status, _signal.SIG_DFL)
        posix.kill(posix.getpid(), -status)
    posix._exit(status)


_main()
