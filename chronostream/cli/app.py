"""The command line as a whole: its commands, and what each of them takes."""

from __future__ import annotations

from pathlib import Path

import click

from chronostream.cli.command import Command, Group
from chronostream.cli.options import Argument, Option, stream_option, variable
from chronostream.cli.types import DURATION, INSTANT, INTERVAL, SIZE, STREAM_NAME, Type
from chronostream.version import __version__

__all__ = ["CONNECTION", "FROM_NATS", "app"]

_SERVERS = "URL of a NATS server, nats://HOST:PORT; separate several by commas."
_URL, _PLAIN_NAME = Type("url"), Type("name")
_COUNT = click.IntRange(1, (1 << 63) - 1)
_DIRECTORY, _FILE = click.Path(file_okay=False, path_type=Path), click.Path(dir_okay=False, path_type=Path)
_FOR_HELP = "Stop after this long, such as 10s."

_NAME = Argument("name", STREAM_NAME, "Name of the stream.")
_FORMAT = Option("--format format_", click.Choice(["text", "json"]), "Text for people, or JSON for programs.", "text")
_ANY_OWNER = Option("--any-owner", None, "Also accept a stream that another user owns.")
_WAIT = Option("--wait wait_s", DURATION, "Wait up to this long, such as 10s, until the stream exists.")
_RANGE = (
    Option("--from start_ns", INSTANT, "Start of the range: ISO 8601 such as 2024-01-31T12:00Z, or Unix nanoseconds."),
    Option("--to end_ns", INSTANT, "End of the range (exclusive)."),
)
_JETSTREAM = Option(
    "--stream", Type("stream"), "Name of the JetStream stream.", default_text="CHRONOSTREAM_ and the stream's name"
)
FROM_NATS = (
    Option("--from-nats", _URL, "Take the events from JetStream: the URL of a NATS server."),
    Option("--nats-name", _PLAIN_NAME, "Name of the stream there.", default_text="NAME"),
    _JETSTREAM,
)
# Secrets come from files: everybody on the machine can read the command line.
CONNECTION = tuple(
    Option(names, type_, help_, section="How to reach NATS")
    for names, type_, help_ in (
        ("--user", Type("user"), "User name, with --password-file; the URL may hold both instead."),
        ("--password-file", _FILE, "File with the user's password."),
        ("--token-file", _FILE, "File with a token."),
        ("--creds credentials", _FILE, "File with a JWT and the seed of its key."),
        ("--nkey nkey_seed", _FILE, "File with the seed of a key."),
        ("--tls-ca", _FILE, "Certificates to trust instead of the system's."),
        ("--tls-cert tls_certificate", _FILE, "Certificate of this side."),
        ("--tls-key", _FILE, "Key of that certificate."),
        ("--tls-first", None, "Begin with TLS; the server must do the same."),
        ("--domain", Type("domain"), "JetStream domain, if it is not that of the server."),
    )
)


def _run_options() -> list[click.Parameter]:
    """Return what ``chronostream run`` takes: each field of `StreamConfig` that has a flag, and some more."""
    from chronostream.stream.config import OPTIONS
    from chronostream.stream.options import Section

    name_help = "Name of the stream; with --config, run only this one."
    file_help = "TOML file with a table [streams.NAME] for each stream."
    return [
        Argument("name", STREAM_NAME, name_help, required=False, section=Section.STREAM),
        Option("--config", _FILE, file_help, section=Section.STREAM, **variable("config")),
        *(stream_option(field, environment=True) for field, declared in OPTIONS.items() if declared.key),
        Option("--for for_s", DURATION, _FOR_HELP, section=Section.PROCESS),
    ]


_COMMANDS = [
    Command(
        "run",
        """Be the producer of a stream: emit its events until stopped.

        SIGTERM and Ctrl-C stop it. It continues a stream that was stopped before, or whose producer died, where that
        stream ended. If the name is live, the exit status is 3. Under systemd it reports that it is ready, and that it
        is alive.

        With --config and without a name, it emits all streams of the file, each by a process of its own that ends with
        this one. If one fails, the others continue, and the exit status is 1 in the end.

        An option is taken from the command line (--max-step 10m), or else from the environment
        (CHRONOSTREAM_MAX_STEP=10m), or else from the file (max-step = "10m"), or else it has its default.
        """,
        _run_options,
    ),
    Command(
        "tail",
        """Print the events of a stream as they come.

        It ends when the stream is closed, or on Ctrl-C. It reads a stream that is closed already to its end. It reports
        losses on stderr.
        """,
        lambda: [
            _NAME,
            Option(
                "--from start",
                click.Choice(["next", "oldest"]),
                "The first event: the next, or the oldest in the ring.",
                "next",
            ),
            stream_option("frequencies", default_text="all"),
            Option("--count", _COUNT, "End after this many events."),
            _WAIT,
            _FORMAT,
            _ANY_OWNER,
        ],
    ),
    Command(
        "list",
        """List all streams of this machine, one line each.

        STATE is live; overdue, if the next event of a live stream is late; closed, if its producer closed and kept it;
        dead, if its producer died without closing it; broken; or denied to this user. `chronostream status` shows why.
        LOST counts the losses of the present consumers.
        """,
        lambda: [_FORMAT, _ANY_OWNER],
        "list_",
    ),
    Command(
        "status",
        """Show all streams, or one, in full.

        It shows the producer and the ring, the clock as the scheduler sees it, for each frequency the last event,
        missed boundaries and lateness, and the registered consumers with their lag and losses.
        """,
        lambda: [
            Argument("name", STREAM_NAME, "Name of the stream; all streams without it.", required=False),
            _FORMAT,
            _ANY_OWNER,
        ],
    ),
    Command(
        "top",
        """Watch all streams live, until q or Ctrl-C.

        It shows the rate of each stream, how late its events are, how many boundaries it missed, and the lag and losses
        of each consumer. The bars under SHAPE are the lateness of all events, from below 1 µs to above 4 s, in steps of
        a factor of four.

        Keys: q ends, space holds the picture, up and down (or k and j) scroll. In a pipe, one picture is printed after
        one interval.
        """,
        lambda: [
            Argument("name", STREAM_NAME, "Names of streams; all streams without them.", required=False, nargs=-1),
            Option("--interval interval_s", INTERVAL, "How often to look.", "1s"),
            Option(
                "--window window_s", DURATION, "Rates, losses and the last column of lateness cover this time.", "10s"
            ),
            Option("--once", None, "Print one picture and end, as in a pipe."),
            _ANY_OWNER,
        ],
    ),
    Command(
        "record",
        """Record a stream into Parquet files.

        It ends when the stream is closed, or on SIGTERM or Ctrl-C. Each file is complete or absent. When it is started
        again, even after a crash, it continues after the last file, and reports the records that the ring no longer
        held. It finishes a file when its day is over, when it is old or large enough, when it holds half a ring, and at
        the end.
        Needs pyarrow: pip install 'chronostream[arrow]'.
        """,
        lambda: [
            _NAME,
            Option("--to directory", _DIRECTORY, "Directory of the files; made if it does not exist.", required=True),
            Option("--every every_s", DURATION, "Finish a file after this time at the latest, such as 10m.", "1h"),
            Option("--max-size max_bytes", SIZE, "About how large a file gets, such as 64MB or 64MiB."),
            Option(
                "--daily/--no-daily",
                None,
                "Begin a new file at midnight in the stream's time zone.",
                default_text="daily",
            ),
            Option("--hive", None, "Put the files into folders such as stream=NAME/date=2026-11-25."),
            Option("--ids", None, "Give events a column with their ids."),
            Option(
                "--from start",
                click.Choice(["oldest", "next"]),
                "The first record of all: the oldest in the ring, or the next.",
                "oldest",
            ),
            Option("--for for_s", DURATION, _FOR_HELP),
            _WAIT,
            _FORMAT,
            _ANY_OWNER,
        ],
    ),
    Command(
        "replay",
        """Publish the events of a past range into a new stream.

        They are, bit for bit, the events that `chronostream run --sequencer boundary` would have emitted. That command
        can continue the stream where the range ends. Replay does not wait for consumers. With --from-nats the events
        come from JetStream instead of being computed, and --from and --to may be left out.
        """,
        lambda: [
            Argument("name", _PLAIN_NAME, "Name of the new stream."),
            *_RANGE,
            stream_option("frequencies", default_text="second, or the source's"),
            stream_option("timezone", default_text="UTC, or the source's"),
            Option("--speed", Type("speed"), "Times as fast as the clock, such as 1x or 60x; or max.", "max"),
            *map(stream_option, ("capacity", "instance_id", "mode", "group", "remove")),
            *FROM_NATS,
            *CONNECTION,
        ],
    ),
    Command(
        "verify",
        """Compare a stream with the events that it must have.

        It reads all events in the ring, or in JetStream. Absent, foreign, duplicate, altered and misplaced events are
        faults, and so are messages in JetStream that are no events: it prints each, and the exit status is 1. It checks
        that counted sequences follow each other, and that absent ones were counted as missed.
        """,
        lambda: [
            _NAME,
            *_RANGE,
            *(stream_option(field, default_text="the stream's") for field in ("frequencies", "timezone", "sequencer")),
            Option("--allow-missed", None, "Accept as many absent events as the producer counted as missed."),
            Option("--limit", click.IntRange(0, (1 << 63) - 1), "How many faults to print; all are counted.", "1000"),
            _FORMAT,
            _ANY_OWNER,
            *FROM_NATS,
            *CONNECTION,
        ],
    ),
    Command(
        "relay",
        """Deliver the events of a stream to NATS JetStream, each once.

        It continues after the last event in JetStream, until the stream is closed, or until SIGTERM or Ctrl-C. If it
        could not deliver all events, the exit status is 1.
        """,
        lambda: [
            _NAME,
            Option("--to", _URL, _SERVERS, required=True),
            Option("--as as_", _PLAIN_NAME, "Name of the stream there.", default_text="NAME"),
            _JETSTREAM,
            Option(
                "--encoding", Type(choices=("json", "record")), "Payload: JSON, or the record of 128 bytes.", "json"
            ),
            Option("--replicas", _COUNT, "Servers that hold each event.", default_text="1"),
            Option("--max-age max_age_s", DURATION, "How long JetStream holds an event, such as 7d."),
            Option("--max-messages", _COUNT, "Largest number of events in JetStream."),
            Option("--max-bytes", SIZE, "Largest size of these events, such as 1GB."),
            Option(
                "--gap-timeout gap_timeout_s",
                DURATION,
                "How long to wait for another relay to fill a gap.",
                "5s",
                former=["--patience"],
            ),
            Option("--accept-zone-data", None, "Accept the zone data of this host from now on."),
            Option("--metrics-file", _FILE, "File that says how the relay fares, for Prometheus."),
            _WAIT,
            _ANY_OWNER,
            *CONNECTION,
        ],
    ),
    Command(
        "mirror",
        """Fill a ring with what a relay delivers to NATS JetStream.

        It ends on SIGTERM or Ctrl-C. The ring is kept, and the next run continues after its last event. If the name is
        live, the exit status is 3.
        """,
        lambda: [
            Argument("url", _URL, _SERVERS),
            Argument("name", _PLAIN_NAME, "Name of the stream there."),
            Option("--as as_", _PLAIN_NAME, "Name of the ring on this host.", default_text="NAME"),
            _JETSTREAM,
            stream_option("capacity"),
            Option(
                "--stale-after stale_after_s",
                DURATION,
                "How late an event may be before the stream is marked stale.",
                "5s",
            ),
            stream_option("mode"),
            stream_option("group"),
            *CONNECTION,
        ],
    ),
    Command(
        "metrics",
        """Serve metrics to Prometheus until SIGTERM or Ctrl-C.

        Each scrape of /metrics reports all streams of this machine: events, missed boundaries, lateness, state, and the
        lag and losses of consumers. A broken stream does not fail it. Needs prometheus-client: pip install
        'chronostream[metrics]'.
        """,
        lambda: [
            Option("--port", click.IntRange(0, 65535), "TCP port; 0 for any free one.", "9464"),
            Option("--address", Type("address"), "Address to listen on; 0.0.0.0 for all of this machine.", "127.0.0.1"),
            _ANY_OWNER,
        ],
    ),
    Command(
        "doctor",
        """Check whether this machine is fit for exact time.

        It checks the core in use, the kernel, shared memory, the clock and its timers, permissions, the zone data and
        the streams of this machine, and it runs a short stream of its own.

        Each finding has a verdict and, unless all is well, advice. A bad finding means that streams do not work; the
        exit status is then 1.
        """,
        lambda: [_FORMAT],
    ),
    Command(
        "remove",
        """Delete a stream, with its events and its sequences.

        While its producer lives, this is refused with exit status 3, unless --force stops the producer first.
        """,
        lambda: [_NAME, Option("--force", None, "If its producer is live, stop it first.")],
    ),
]

app = Group(
    "chronostream",
    commands=_COMMANDS,
    help="One heartbeat for every process on this machine: aligned wall-clock events in a shared-memory ring.",
    epilog="Exit statuses: 0 done, 1 failed, 2 wrong usage, 3 the name is live already.",
    no_args_is_help=False,  # but wrong usage, with the help
)
click.version_option(__version__, message="%(prog)s %(version)s", help="Show the version and exit.")(app)
