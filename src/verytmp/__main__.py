"""The command ``verytmp``, or ``python -m verytmp``: a demonstration, `run` or `doctor`."""

from __future__ import annotations

import argparse
import sys

from . import VeryTmpUnavailable, __version__

PROGRAM = "verytmp"


def main(arguments: list[str] | None = None) -> int:
    arguments = sys.argv[1:] if arguments is None else arguments
    if arguments[:1] == ["run"]:  # its own parser: what follows the command is the command's
        from ._cli.run import main as run_main

        return run_main(arguments[1:])
    parser = argparse.ArgumentParser(
        prog=PROGRAM,
        usage=f"{PROGRAM} [-h] [--version] [run ... | doctor [-h] [--json]]",
        description="Without a command, run a demonstration: make a private tmpfs, use it, unpack a wheel into "
        "another, and check that nothing is left.",
        epilog="In a program: from verytmp import VeryTmpRoot; see help(VeryTmpRoot). "
        "In a test suite: pytest --verytmp; pytest --fixtures lists what it adds.",
    )
    parser.add_argument("--version", action="version", version=f"{PROGRAM} {__version__}")
    commands = parser.add_subparsers(dest="command", prog=PROGRAM)
    commands.add_parser("run", help="run any program in a private directory in memory: verytmp run --help")
    about = "Show whether a root can be made here, how, and what to do if not. Exit status: 0 if one can, else 1."
    doctor = commands.add_parser("doctor", help="show what works here, and why something does not", description=about)
    doctor.add_argument("--json", action="store_true", help="print JSON, for programs")
    asked = parser.parse_args(arguments)
    if asked.command == "doctor":
        from ._mounting.available import check_available

        try:
            check_available()
        except VeryTmpUnavailable as error:  # there is nothing to ask, or nothing to ask it with
            print(in_lines(str(error)))
            return 1
        from ._cli.doctor import main as doctor_main

        return doctor_main(asked.json)
    from ._cli import demo

    try:
        demo.main()
    except (demo.Failure, OSError) as error:
        print(f"\n{PROGRAM}: {in_lines(str(error))}", file=sys.stderr)
        return 1
    return 0


def in_lines(text: str) -> str:
    """An error's sentences, each on a line of its own."""
    for begin in (
        "The cause is ",
        "What was read: ",
        "What to do: ",
        "(with weaker guarantees and no limits: ",
        "(more: ",
    ):
        text = text.replace(f" {begin}", f"\n{begin}")
    return text


if __name__ == "__main__":
    sys.exit(main())
