"""`edgevision verify`."""

from __future__ import annotations

import json
from pathlib import Path

import click

from edgevision.bundle import Bundle, Verification
from edgevision.cli.present import verification_lines
from edgevision.codec import json_from_dataclass
from edgevision.errors import MissingExtraError, VerificationError


@click.command()
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print the records as JSON.")
def command(bundle: Path, as_json: bool) -> None:
    """Check a bundle's files and its answers against the source model's.

    Every file is held against its hash, then the golden frames run through every engine that is installed here. The
    records are kept in the bundle. Exit code 2 if an engine answers wrongly.
    """
    opened = Bundle.open(bundle)
    opened.check_files()
    records = _verify_engines(opened)
    if as_json:
        click.echo(json.dumps([{**json_from_dataclass(r), "passed": r.passed} for r in records], indent=2))
    else:
        for record in records:
            click.echo("\n".join(verification_lines(record)))
    failed = [record for record in records if not record.passed]
    if failed:
        raise VerificationError(f"{bundle}: {failed[0].engine} answers wrongly: {failed[0].failures}")


def _verify_engines(bundle: Bundle) -> list[Verification]:
    from edgevision.session import CPU_ENGINES, open_session
    from edgevision.verification import verify_session

    golden = bundle.golden()
    records = []
    for engine in CPU_ENGINES:
        try:
            session = open_session(bundle.path, engine=engine)
        except MissingExtraError:
            continue
        with session:
            records.append(verify_session(session, golden))
        bundle = bundle.with_verification("float", records[-1])
    if not records:
        raise MissingExtraError("onnxruntime", "cpu", "edgevision verify")
    return records
