"""The commands with their options, as click reads them.

Why click and not typer, which is made of it: a command of typer's loads pydantic to read its options, and that costs
three times what reading them does, at every start of a server.
"""

from __future__ import annotations

from typing import Any

import click

_RECORDS = """\b
Examples:
  fakellm record -- python app.py               on the tape cassettes/app.yaml
  fakellm record --name chat --into tests/cassettes -- node app.js
  fakellm record --upstream openai=http://127.0.0.1:8123/v1 -- python app.py
"""
_REPLAYS = """\b
Examples:
  fakellm replay -- python app.py               from all tapes in cassettes/
  fakellm replay tests/cassettes/chat.yaml --timing recorded -- node app.js
"""
_SCRUBS = """\b
Examples:
  fakellm scrub cassettes --dry-run             what would be replaced, and where
  fakellm scrub tests/cassettes/chat.yaml --keep-header x-team
"""
_DRIFTS = """\b
Examples:
  fakellm drift cassettes                       asks the providers, with the keys of the environment
  fakellm drift tests/cassettes/chat.yaml --upstream openai=http://127.0.0.1:8123/v1
  fakellm drift cassettes --junit drift.xml --update
"""
_SWEEPS = """\b
Examples:
  fakellm sweep archive --consumer app.parse:answer
  fakellm sweep 'day-*/*.jsonl' --consumer app.parse:answer --against old.parse:answer
  fakellm sweep s3://bucket/streams --consumer app.parse:answer --contracts framing,utf8_split --journal sweep.json
"""
_CONVERTS = """\b
Examples:
  fakellm convert cassettes/chat.yaml chat.sse
  fakellm convert chat.sse chat.yaml --to tape
  fakellm convert old-tapes scripts --to script
"""
_EXAMPLES = """\b
Examples:
  fakellm serve                                 the providers answer by themselves
  fakellm serve fakes.py --port 8080 --watch
  fakellm serve fakes.py --workers 4 --json
  fakellm serve fakes.py -- node app.js
"""
FORMS = ("tape", "vcrpy", "script", "sse", "jsonl", "aimock", "llmock")
WRITTEN = FORMS[:5]


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="fakellm-stream", prog_name="fakellm", message="%(prog)s %(version)s")
def app() -> None:
    """Test and mock code that consumes LLM streams."""


@app.command(epilog=_EXAMPLES, options_metavar="[OPTIONS]")
@click.argument("file", required=False)
@click.option("--host", default="127.0.0.1", show_default=True, help="Where to listen; others reach no loopback.")
@click.option("--port", type=click.IntRange(0, 65535), default=0, show_default=True, help="The port; 0 is a free one.")
@click.option("--profile", multiple=True, help="Habits of a service: vllm, or openai=vllm for one provider alone.")
@click.option("--form", help="How answers are written, in a legal way: crlf, or line_ends=crlf,bom,pieces=7.")
@click.option("--behind", multiple=True, help="A gateway between, such as nginx; again for the next, nearest first.")
@click.option("--speed", default="1", show_default=True, help="How many times as fast silences pass, or instant.")
@click.option("--workers", type=click.IntRange(1, 256), default=1, show_default=True, help="Processes at the port.")
@click.option("--grace", type=click.FloatRange(0), default=5.0, show_default=True, help="Seconds for streams to end.")
@click.option("--keep", type=click.IntRange(1), default=1_000, show_default=True, help="Requests kept of each session.")
@click.option("--strict-requests", is_flag=True, help="Refuse requests that the real API would refuse.")
@click.option("--watch", is_flag=True, help="Play what FILE says when it changes.")
@click.option("--check", is_flag=True, help="Only tell whether FILE is right: exit code 0, or 1.")
@click.option("--json", is_flag=True, help="Say what happens in lines of JSON.")
@click.pass_obj
def serve(command: list[str] | None, /, *, check: bool, profile: tuple[str, ...], **options: Any) -> int:
    """Serve fake providers on a port, for any language.

    FILE is a scenario in YAML or JSON, or a Python file whose `providers` is a list of FakeProviders. Without one the
    providers answer by themselves.

    Behind -- comes a command, which is run with the SDKs' variables set to the server. The exit code is then its own,
    or 3 if a request found no reply or a reply was never asked for.
    """
    from fakellm.cli.config import Serving
    from fakellm.cli.running import checked, run

    serving = Serving(profiles=profile, **options)
    return checked(serving) if check else run(serving, command)


_SHOW_EXAMPLES = """\b
Examples:
  fakellm show cassettes/chat.yaml              request, answer, ending, pace
  fakellm show cassettes                        a line for each interaction
  fakellm show cassettes/chat.yaml --follow     as it streamed
  fakellm show cassettes/chat.yaml --html chat.html
  fakellm show before.yaml after.yaml           what differs; exit code 1 if something does
"""


@app.command(epilog=_SHOW_EXAMPLES, options_metavar="[OPTIONS]")
@click.argument("paths", nargs=-1, required=True, metavar="TAPE|DIR|SCRIPT [TAPE]")
@click.option("--at", type=click.IntRange(0), help="Only this interaction, counted from 0.")
@click.option("--events", is_flag=True, help="A line for each chunk: when, how large, what it says.")
@click.option("--raw", is_flag=True, help="The bytes, with the boundaries of chunks marked.")
@click.option("--follow", is_flag=True, help="Play it at the pace at which it came.")
@click.option("--speed", default="1", show_default=True, help="How many times as fast --follow plays, or instant.")
@click.option("--html", metavar="FILE", help="Write one page that shows all of it, for a browser; it needs no network.")
@click.option("--json", is_flag=True, help="Say it in JSON.")
def show(paths: tuple[str, ...], **options: Any) -> int:
    """Show what was recorded: a tape, a script, the body of an answer, or all of a folder.

    Of two tapes, show what differs, event by event. Secrets are never shown.
    """
    from fakellm.cli.showing import Showing
    from fakellm.cli.showing import show as run

    return run(Showing(paths, **options))


_CHECK_EXAMPLES = """\b
Examples:
  fakellm check tests                           secrets, broken files, broken streams
  fakellm check tests --max-age 90
  pytest --llm-usage=usage.json && fakellm check tests --usage usage.json
"""
_SKIPPED = ("secret", "broken", "grammar", "old", "unused")


@app.command(epilog=_CHECK_EXAMPLES, options_metavar="[OPTIONS]")
@click.argument("paths", nargs=-1, required=True)
@click.option("--max-age", type=click.FloatRange(0), metavar="DAYS", help="Tapes that are older are to be told.")
@click.option("--usage", multiple=True, metavar="FILE", help="What pytest --llm-usage=FILE wrote: tell what is unused.")
@click.option("--skip", multiple=True, type=click.Choice(_SKIPPED), help="A kind of problem not to look for.")
@click.option("--ignore", multiple=True, metavar="RULE", help="A rule of a grammar not to judge: openai_chat.done.")
@click.option("--json", is_flag=True, help="Say it in JSON.")
def check(paths: tuple[str, ...], **options: Any) -> int:
    """Check tapes: secrets, broken files, streams that no provider would send, age, what no test uses.

    PATHS are files and folders. Exit code 1 if something was found.
    """
    from fakellm.cli.checking import Checking, run

    return run(Checking(paths, **options))


@app.command(epilog=_SWEEPS, options_metavar="[OPTIONS]")
@click.argument("paths", nargs=-1, required=True)
@click.option("--consumer", multiple=True, required=True, metavar="MODULE:NAME", help="What reads a stream of chunks.")
@click.option("--against", metavar="MODULE:NAME", help="Another version of it, to compare with.")
@click.option("--contracts", multiple=True, metavar="NAME,...", help="Hold it to these alone; grammar: the streams.")
@click.option("--reads", type=click.Choice(("bytes", "text", "chunks")), default="bytes", show_default=True,
              help="What the consumer reads of a stream.")  # fmt: skip
@click.option("--limit", type=click.IntRange(0), help="Single cuts of a stream at most; 0 reads it as it came.")
@click.option("--workers", type=click.IntRange(0), help="Processes, 0 for this one; by default one for each core.")
@click.option("--patience", type=click.FloatRange(0, min_open=True), default=60.0, show_default=True,
              help="Seconds for one reading; one that takes longer hangs.")  # fmt: skip
@click.option("--journal", metavar="FILE", help="Where it stands how far this is, to go on from.")
@click.option("--column", multiple=True, metavar="OURS=YOURS", help="What a column is called: body=answer.")
@click.option("--at", type=click.IntRange(0), metavar="N", help="Only this interaction, row or line.")
@click.option("--only", metavar="MOVES", help="Only this chunking, as a failure showed it.")
@click.option("--json", is_flag=True, help="Say it in JSON, a line for each consumer.")
def sweep(paths: tuple[str, ...], **options: Any) -> int:
    """Run code that reads streams over every recorded one, in chunkings that could tell readings apart.

    PATHS are folders, files, patterns and URLs: tapes, .sse, and rows in .jsonl and .parquet. Exit code 1 if something
    was found, 2 if nothing could be tried.
    """
    from fakellm.cli.sweeping import Sweeping, run

    return run(Sweeping(paths, **options))


@app.command(epilog=_RECORDS, options_metavar="[OPTIONS] -- CMD")
@click.option("--into", default="cassettes", show_default=True, metavar="DIR", help="The folder of the tape.")
@click.option("--name", help="The tape's name; by default that of the script, or of the program, that is run.")
@click.option("--upstream", multiple=True, metavar="NAME=URL", help="Where a provider is: openai=http://host/v1.")
@click.option("--fresh", is_flag=True, help="Keep nothing that the tape had; else what was not asked again stays.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Where to listen; others reach no loopback.")
@click.option("--port", type=click.IntRange(0, 65535), default=0, show_default=True, help="The port; 0 is a free one.")
@click.option("--grace", type=click.FloatRange(0), default=5.0, show_default=True, help="Seconds for streams to end.")
@click.option("--json", is_flag=True, help="Say what happens in lines of JSON.")
@click.pass_obj
def record(command: list[str] | None, /, **options: Any) -> int:
    """Record what a command asks the real providers, whatever its language.

    CMD is run with the base URLs of the SDKs set to a proxy on this machine, and with the keys that it has. Answers
    pass chunk by chunk as they come. At the end they are on a tape, without secrets.

    The exit code is that of CMD, or 3 if nothing was recorded or the tape could not be written.
    """
    from fakellm.cli.config import Serving
    from fakellm.cli.recording import Recorded, run

    serving = Serving(**{name: options.pop(name) for name in ("host", "port", "grace", "json")})
    return run(serving, Recorded(**options), command)


@app.command(epilog=_REPLAYS, options_metavar="[OPTIONS]")
@click.argument("tapes", required=False, default="cassettes", metavar="[DIR]")
@click.option("--timing", default="instant", show_default=True, help="Silences: instant, recorded, or a factor, 0.1.")
@click.option("--form", help="How answers are written, in a legal way: crlf, or line_ends=crlf,bom,pieces=7.")
@click.option("--behind", multiple=True, help="A gateway between, such as nginx; again for the next, nearest first.")
@click.option("--repeat", is_flag=True, help="Let what was recorded once answer again and again.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Where to listen; others reach no loopback.")
@click.option("--port", type=click.IntRange(0, 65535), default=0, show_default=True, help="The port; 0 is a free one.")
@click.option("--grace", type=click.FloatRange(0), default=5.0, show_default=True, help="Seconds for streams to end.")
@click.option("--json", is_flag=True, help="Say what happens in lines of JSON.")
@click.pass_obj
def replay(command: list[str] | None, /, **options: Any) -> int:
    """Replay tapes to a command, without the network.

    DIR is a folder of tapes, or one tape; by default cassettes. CMD, behind --, is run with the variables of the SDKs
    set to a server on this machine that answers what was recorded, in the same chunks and with the same ending.

    The exit code is that of CMD, or 3 if a request is on no tape; the recording that is nearest is told, field by
    field.
    """
    from fakellm.cli.config import Serving
    from fakellm.cli.replaying import Replaying, run

    serving = Serving(**{name: options.pop(name) for name in ("host", "port", "grace", "json")})
    return run(serving, Replaying(**options), command)


@app.command(epilog=_SCRUBS, options_metavar="[OPTIONS]")
@click.argument("tapes", nargs=-1, required=True, metavar="TAPES...")
@click.option("--dry-run", is_flag=True, help="Change nothing; exit code 1 if there is something to change.")
@click.option("--keep-header", multiple=True, metavar="NAME", help="A header of requests to keep whole.")
@click.option("--secret-env", multiple=True, metavar="NAME", help="A variable that holds a secret to look for, too.")
@click.option("--json", is_flag=True, help="Say what was replaced as JSON.")
def scrub(tapes: tuple[str, ...], **options: Any) -> int:
    """Take the secrets out of tapes that exist.

    TAPES are tapes and folders of tapes. Each is written in place, whole or not at all, and only if there is a secret
    on it. What is replaced is told by its kind and its place, never shown.
    """
    from fakellm.cli.scrubbing import run

    return run(tapes, **options)


@app.command(epilog=_DRIFTS, options_metavar="[OPTIONS]")
@click.argument("tapes", nargs=-1, required=True, metavar="TAPES...")
@click.option("--upstream", multiple=True, metavar="NAME=URL", help="Where a provider is: openai=http://host/v1.")
@click.option("--update", is_flag=True, help="Record anew what has drifted: each tape whole, or not at all.")
@click.option("--patience", type=click.FloatRange(0.1), default=60.0, show_default=True, help="Seconds of silence.")
@click.option("--junit", metavar="FILE", help="Write a report in the form of JUnit, too.")
@click.option("--json", is_flag=True, help="Say what has drifted as JSON.")
def drift(tapes: tuple[str, ...], **options: Any) -> int:
    """Ask again what was recorded, and tell how the answers differ.

    TAPES are tapes and folders of tapes. Each interaction is asked once, where it was recorded or where --upstream
    says, with the keys of the environment. Compared are status, headers, events, fields, types, tools and finish
    reasons, never the words. Each difference is breaking, notable, or noise.

    Exit codes: 0 nothing has drifted, or all that has is recorded anew; 1 something has; 2 wrong use, or something
    could not be asked.
    """
    from fakellm.cli.drifting import run

    return run(tapes, **options)


@app.command(epilog=_CONVERTS, options_metavar="[OPTIONS]")
@click.argument("source", metavar="SRC")
@click.argument("target", metavar="DST")
@click.option("--from", "source_form", type=click.Choice(FORMS), help="The form of SRC; by default its content tells.")
@click.option("--to", "form", type=click.Choice(WRITTEN), help="The form of DST; by default its name tells.")
@click.option("--api", default="", help="The API of answers that do not say it: openai.chat.")
@click.option("--url", default="", help="The URL of the request that an answer gets on a tape, where it has none.")
@click.option("--request", default="", metavar="JSON", help="The JSON of that request.")
@click.option("--interaction", type=click.IntRange(0), metavar="N", help="Convert one interaction of a tape alone.")
@click.option("--force", is_flag=True, help="Write over files that are there.")
@click.option("--json", is_flag=True, help="Say what was done as JSON.")
def convert(source: str, target: str, **options: Any) -> int:
    """Write answers in another form.

    SRC and DST are tapes, of ours or of vcrpy, scripts, raw event streams (.sse) or lines of JSON (.jsonl); SRC may be
    a tape of another tool, fixtures of aimock or a queue of LLMock, too. Of a folder each file is converted. What the
    other form cannot hold is told. Secrets are taken out.
    """
    from fakellm.cli.converting import run

    return run(source, target, **options)
